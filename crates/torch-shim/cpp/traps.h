// Integer division that the processor refuses; traps.cpp says more.
#pragma once

#include <cstdint>

namespace sconce {

// While it lives, a trap on this thread is that of the call that it stands in.
class Traps {
 public:
  Traps();
  ~Traps();
  Traps(const Traps&) = delete;
  Traps& operator=(const Traps&) = delete;

  // Throws if there was one since: what was computed is wrong then.
  void check() const;

 private:
  uint64_t elsewhere_;
};

}  // namespace sconce
