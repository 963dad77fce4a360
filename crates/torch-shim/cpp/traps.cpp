// Integer division that the processor refuses.
//
// On x86-64 a division of integers by zero, or of the smallest number by minus one, is no result but a signal, which
// ends the process. libtorch looks for zero in some of its operators and nowhere for the other case, its interpreter
// looks for neither in `%`: numbers of a client would do. Which operators divide, and which numbers reach them, nobody can
// list. So the signal is caught where it arises: the division gives zero, the thread goes on, and the call that it was made
// for fails when it ends. Other processors do not trap.
#include "traps.h"

#include <atomic>
#include <csignal>
#include <cstring>

#if defined(__x86_64__) && defined(__linux__)
#include <ucontext.h>
#endif

#include "errors.h"

namespace sconce {
namespace {

// Of this thread, while a scope watches it.
thread_local int watching = 0;
thread_local volatile std::sig_atomic_t trapped_here = 0;
// Of threads that work for others: libtorch's own.
std::atomic<uint64_t> trapped_elsewhere{0};

#if defined(__x86_64__) && defined(__linux__)

// A division instruction: how long it is, and how wide what it divides.
struct Division {
  size_t length;
  int bits;
};

// What stands at `code`, if it divides: DIV and IDIV are F6 (8 bits) and F7 (16, 32, 64) with 6 or 7 in the middle of the
// byte behind them (Intel's manual, volume 2, chapter 2 and appendix A).
bool read_division(const uint8_t* code, Division* division) {
  constexpr size_t kLongest = 15;
  size_t at = 0;
  bool is_narrow = false;
  for (; at < kLongest; ++at) {
    const uint8_t byte = code[at];
    if (byte == 0x66) {
      is_narrow = true;
    } else if (std::memchr("\x2e\x36\x3e\x26\x64\x65\x67\xf2\xf3", byte, 9) == nullptr) {
      break;
    }
  }
  bool is_wide = false;
  if ((code[at] & 0xf0) == 0x40) {
    is_wide = (code[at] & 0x08) != 0;
    ++at;
  }
  const uint8_t operation = code[at++];
  const uint8_t place = code[at++];
  const int which = (place >> 3) & 7;
  if ((operation != 0xf6 && operation != 0xf7) || which < 6) {
    return false;
  }
  const int mode = place >> 6;
  const int base = place & 7;
  bool has_far_base = mode == 0 && base == 5;
  if (mode != 3 && base == 4) {
    has_far_base = mode == 0 && (code[at] & 7) == 5;
    ++at;
  }
  at += mode == 1 ? 1 : (mode == 2 || has_far_base) ? 4 : 0;
  division->length = at;
  division->bits = operation == 0xf6 ? 8 : is_wide ? 64 : is_narrow ? 16 : 32;
  return true;
}

void on_trap(int signal, siginfo_t* info, void* context) {
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  Division division = {};
  const bool is_division = info->si_code == FPE_INTDIV &&
                           read_division(reinterpret_cast<const uint8_t*>(registers[REG_RIP]), &division);
  if (!is_division) {
    // Sent by somebody, or of a kind that is not ours: it ends the process as it always did.
    std::signal(signal, SIG_DFL);
    std::raise(signal);
    return;
  }
  // Quotient and remainder are zero: an index that comes of them points at a first element and nowhere else.
  if (division.bits >= 32) {
    registers[REG_RAX] = 0;
    registers[REG_RDX] = 0;
  } else {
    registers[REG_RAX] &= ~0xffffLL;
    if (division.bits == 16) {
      registers[REG_RDX] &= ~0xffffLL;
    }
  }
  registers[REG_RIP] += static_cast<greg_t>(division.length);
  if (watching > 0) {
    trapped_here = 1;
  } else {
    trapped_elsewhere.fetch_add(1, std::memory_order_relaxed);
  }
}

#endif

}  // namespace

Traps::Traps() : elsewhere_(trapped_elsewhere.load(std::memory_order_relaxed)) {
  if (watching++ == 0) {
    trapped_here = 0;
  }
}

Traps::~Traps() { --watching; }

void Traps::check() const {
  if (trapped_here != 0 || trapped_elsewhere.load(std::memory_order_relaxed) != elsewhere_) {
    throw ShimError(
        SCONCE_ERROR_RAISED,
        "ZeroDivisionError: integer division by zero, or of the smallest number by -1, in the model's code");
  }
}

}  // namespace sconce

void sconce_catch_traps(void) {
#if defined(__x86_64__) && defined(__linux__)
  struct sigaction action = {};
  action.sa_sigaction = sconce::on_trap;
  action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  sigaction(SIGFPE, &action, nullptr);
#endif
}
