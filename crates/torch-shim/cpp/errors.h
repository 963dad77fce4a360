// Exceptions stop here: every entry point runs its body through `guarded`.
#pragma once

#include <exception>
#include <string>
#include <utility>

#include "shim.h"

namespace sconce {

// What the shim itself finds wrong. The text is written for the person who reads the answer.
class ShimError : public std::exception {
 public:
  ShimError(SconceErrorKind kind, std::string text) : kind_(kind), text_(std::move(text)) {}
  SconceErrorKind kind() const noexcept { return kind_; }
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  SconceErrorKind kind_;
  std::string text_;
};

// Fills `error` from the exception in flight. Only inside a catch block.
void describe_current_exception(SconceError* error) noexcept;

template <typename Body>
int guarded(SconceError* error, Body&& body) noexcept {
  try {
    std::forward<Body>(body)();
    return 0;
  } catch (...) {
    describe_current_exception(error);
    return 1;
  }
}

}  // namespace sconce
