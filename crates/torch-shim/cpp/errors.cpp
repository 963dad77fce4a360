#include "errors.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>

#include <c10/util/Exception.h>
#include <torch/csrc/jit/runtime/jit_exception.h>

namespace sconce {
namespace {

// A model may raise with a text of any length. The end is what holds the reason, under the interpreter's traceback,
// and the start is what tells a device error: this much of each is kept for the Rust side to cut further.
constexpr size_t kKept = 64 * 1024;

void fill(SconceError* error, SconceErrorKind kind, std::string_view text) noexcept {
  error->kind = kind;
  error->text = nullptr;
  error->length = 0;
  const bool whole = text.size() <= 2 * kKept;
  const size_t length = whole ? text.size() : 2 * kKept;
  // malloc and not new: it must work, or fail quietly, while memory is what is missing.
  auto* copy = static_cast<char*>(std::malloc(std::max<size_t>(length, 1)));
  if (copy == nullptr) {
    return;
  }
  if (whole) {
    std::memcpy(copy, text.data(), length);
  } else {
    std::memcpy(copy, text.data(), kKept);
    std::memcpy(copy + kKept, text.data() + text.size() - kKept, kKept);
  }
  error->text = copy;
  error->length = length;
}

// The words of the model itself, where libtorch kept them apart from its traceback: `ValueError: x must be positive`.
std::string words_of(const torch::jit::JITException& e) {
  const auto original = e.getOriginalMsg();
  if (!original.has_value()) {
    return e.what();
  }
  std::string name = e.getPythonClassName().value_or("");
  const std::string builtins = "builtins.";
  if (name.compare(0, builtins.size(), builtins) == 0) {
    name.erase(0, builtins.size());
  }
  return name.empty() ? *original : name + ": " + *original;
}

}  // namespace

void describe_current_exception(SconceError* error) noexcept {
  // Reading a text can itself throw for want of memory, hence the outer try.
  try {
    try {
      throw;
    } catch (const ShimError& e) {
      fill(error, e.kind(), e.what());
    } catch (const torch::jit::JITException& e) {
      fill(error, SCONCE_ERROR_RAISED, words_of(e));
    } catch (const c10::OutOfMemoryError& e) {
      fill(error, SCONCE_ERROR_OUT_OF_MEMORY, e.what_without_backtrace());
    } catch (const c10::AcceleratorError& e) {
      fill(error, SCONCE_ERROR_ACCELERATOR, e.what_without_backtrace());
    } catch (const c10::NotImplementedError& e) {
      fill(error, SCONCE_ERROR_NOT_IMPLEMENTED, e.what_without_backtrace());
    } catch (const c10::Error& e) {
      // `what()` would resolve every frame of the backtrace, which takes milliseconds, for text that is then cut.
      fill(error, SCONCE_ERROR_OTHER, e.what_without_backtrace());
    } catch (const std::bad_alloc&) {
      fill(error, SCONCE_ERROR_OUT_OF_MEMORY, "the process is out of memory");
    } catch (const std::exception& e) {
      fill(error, SCONCE_ERROR_OTHER, e.what());
    } catch (...) {
      fill(error, SCONCE_ERROR_UNKNOWN, "an exception of an unknown type was thrown");
    }
  } catch (...) {
    fill(error, SCONCE_ERROR_OUT_OF_MEMORY, "the process is out of memory");
  }
}

}  // namespace sconce

void sconce_error_free(SconceError* error) {
  std::free(error->text);
  error->text = nullptr;
  error->length = 0;
}
