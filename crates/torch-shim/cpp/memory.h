// How much memory models may take; memory.cpp says more.
#pragma once

#include <cstddef>
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
  // Whether it was refused something and so much more is still for its way out.
  bool is_on_the_way_out(size_t bytes) const;
  // What it may hold whatever else is held.
  uint64_t assured() const;
  // Notes that it asked for so much in vain, where the process may take so much. The first time counts.
  void refuse(uint64_t bytes, uint64_t most);
  // Whether it did.
  bool is_refused() const { return refused_ != 0; }
  // Throws if it was refused something.
  void check() const;

 private:
  Of what_;
  uint64_t before_;
  // Bytes of what was refused, or 0.
  uint64_t refused_ = 0;
  uint64_t held_then_ = 0;
  uint64_t most_ = 0;
  Account* outer_;
};

}  // namespace sconce
