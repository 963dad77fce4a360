// How much memory models may take; memory.cpp says more.
#pragma once

#include <cstdint>

namespace sconce {

// While it lives, what this thread allocates is for one run, or for loading a model.
class Account {
 public:
  enum class Of { kRun, kLoad };
  explicit Account(Of what);
  ~Account();
  Account(const Account&) = delete;
  Account& operator=(const Account&) = delete;

  // What it holds of what was allocated since, in bytes.
  uint64_t held() const;
  // What it may hold whatever else is held.
  uint64_t assured() const;
  // Notes that it asked for so much in vain.
  void refuse(uint64_t bytes);
  // Throws if it was refused something.
  void check() const;

 private:
  Of what_;
  uint64_t before_;
  uint64_t refused_ = 0;
  uint64_t held_then_ = 0;
  Account* outer_;
};

}  // namespace sconce
