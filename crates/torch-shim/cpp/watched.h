// Runs foreign code with what it does to the process told apart.
#pragma once

#include "memory.h"
#include "traps.h"

namespace sconce {

// Runs the model's code, or libtorch's on it. A division that trapped and memory that was refused are told as such,
// whatever libtorch made of them on the way.
template <typename Body>
auto watched(Account::Of what, Body&& body) {
  const Traps traps;
  const Account account(what);
  try {
    auto result = body();
    traps.check();
    return result;
  } catch (...) {
    account.check();
    traps.check();
    throw;
  }
}

}  // namespace sconce
