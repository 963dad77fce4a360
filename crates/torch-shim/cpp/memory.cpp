// How much memory models may take.
//
// A run takes what the code and the numbers of its request ask for. So large allocations ask first: libtorch's tensors
// through its own allocator, its lists and texts through `operator new`, which the program brings along and libtorch's
// libraries then use. What does not fit is an exception, in the thread that asked; the process goes on.
//
// A run may always hold an assured share. Beyond it the whole process counts: what is allocated at all, what is resident beside
// that (code that was made, stacks, relocations), and what is set aside for others, which are all shares and the
// buffers of requests. Such an allocation is made under one lock, so that two cannot take the same room.
#include "memory.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <string>

#include <c10/core/CPUAllocator.h>

#include "errors.h"

// jemalloc's, with which every program that has this crate is linked (jemalloc(3)).
extern "C" int mallctl(const char* name, void* old, size_t* old_length, void* fresh, size_t fresh_length);

namespace sconce {
namespace {

// Smaller allocations do not ask. What is made of many of them lies in a list or a table, which asks when it grows.
constexpr size_t kLarge = size_t{1} << 20;

// What the process may take; 0: whatever there is.
std::atomic<uint64_t> limit{0};
// Of it, what others have.
std::atomic<uint64_t> set_aside{0};
// What each run may hold whatever else is held; all of them are set aside too.
std::atomic<uint64_t> share{0};
// What lies in buffers, which are set aside as a whole.
std::atomic<uint64_t (*)()> buffered{nullptr};
std::mutex turn;

thread_local Account* current = nullptr;

template <typename T>
T told(const char* name) {
  T value{};
  size_t length = sizeof(value);
  mallctl(name, &value, &length, nullptr, 0);
  return value;
}

// Bytes that this thread has allocated and not freed, as a difference that may wrap: what it frees, others may have allocated.
uint64_t balance() {
  thread_local const uint64_t* allocated = told<uint64_t*>("thread.allocatedp");
  thread_local const uint64_t* freed = told<uint64_t*>("thread.deallocatedp");
  return allocated != nullptr && freed != nullptr ? *allocated - *freed : 0;
}

// Memory of the process that is its own and resident, in bytes. Nothing here may allocate.
uint64_t resident() {
  char text[4096];
  const int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  if (file < 0) {
    return 0;
  }
  const ssize_t length = read(file, text, sizeof(text) - 1);
  close(file);
  text[length > 0 ? length : 0] = '\0';
  const char* line = std::strstr(text, "RssAnon:");
  return line == nullptr ? 0 : std::strtoull(line + std::strlen("RssAnon:"), nullptr, 10) << 10;
}

// What the process has taken, or will when all that is allocated is touched: less the buffers, which are set aside.
uint64_t taken() {
  uint64_t epoch = 1;
  size_t length = sizeof(epoch);
  mallctl("epoch", &epoch, &length, &epoch, length);
  const uint64_t outside = resident();
  const uint64_t mapped = told<size_t>("stats.resident");
  const auto ask = buffered.load(std::memory_order_relaxed);
  const uint64_t in_buffers = ask == nullptr ? 0 : ask();
  const uint64_t all = told<size_t>("stats.allocated") + (outside > mapped ? outside - mapped : 0);
  return all > in_buffers ? all - in_buffers : 0;
}


// Lets an allocation happen, under the lock that comes back if it needs one, or notes that it may not.
bool is_admitted(size_t bytes, std::unique_lock<std::mutex>& lock) {
  const uint64_t most = limit.load(std::memory_order_relaxed);
  if (bytes < kLarge || current == nullptr || most == 0 || current->held() + bytes <= current->assured()) {
    return true;
  }
  lock = std::unique_lock<std::mutex>(turn);
  if (taken() + set_aside.load(std::memory_order_relaxed) + bytes <= most) {
    return true;
  }
  current->refuse(bytes);
  return false;
}

class BoundedAllocator final : public c10::Allocator {
 public:
  explicit BoundedAllocator(c10::Allocator* inner) : inner_(inner) {}

  c10::DataPtr allocate(size_t bytes) override {
    std::unique_lock<std::mutex> lock;
    if (!is_admitted(bytes, lock)) {
      lock.unlock();
      current->check();
    }
    return inner_->allocate(bytes);
  }

  bool is_simple_data_ptr(const c10::DataPtr& data) const override { return inner_->is_simple_data_ptr(data); }
  c10::DeleterFnPtr raw_deleter() const override { return inner_->raw_deleter(); }
  void copy_data(void* to, const void* from, size_t bytes) const override { inner_->copy_data(to, from, bytes); }

 private:
  c10::Allocator* inner_;
};

}  // namespace

Account::Account(Of what) : what_(what), before_(balance()), outer_(current) { current = this; }

Account::~Account() { current = outer_; }

uint64_t Account::held() const {
  const auto held = static_cast<int64_t>(balance() - before_);
  return held > 0 ? static_cast<uint64_t>(held) : 0;
}

void Account::refuse(uint64_t bytes) {
  refused_ = bytes;
  held_then_ = held();
}

void Account::check() const {
  if (refused_ != 0) {
    const std::string asked = std::to_string(refused_ >> 20) + " MiB";
    const std::string held = std::to_string(held_then_ >> 20) + " MiB";
    throw ShimError(
        SCONCE_ERROR_OUT_OF_MEMORY, "there is no room for the " + asked + " that the model asks for, beside the " + held +
                                        " that it has taken for this");
  }
}

uint64_t Account::assured() const { return what_ == Of::kRun ? share.load(std::memory_order_relaxed) : 0; }

}  // namespace sconce

void sconce_bound_memory(uint64_t most, uint64_t aside, uint64_t each, uint64_t (*buffered)(void)) {
  static std::once_flag once;
  std::call_once(once, [] { c10::SetCPUAllocator(new sconce::BoundedAllocator(c10::GetDefaultCPUAllocator()), 1); });
  sconce::buffered.store(buffered, std::memory_order_relaxed);
  sconce::share.store(each, std::memory_order_relaxed);
  sconce::set_aside.store(aside, std::memory_order_relaxed);
  sconce::limit.store(most, std::memory_order_relaxed);
}

// The one that all of C++ in the process uses. As the standard library's, but that a large allocation may be refused.
__attribute__((visibility("default"))) void* operator new(size_t bytes) {
  std::unique_lock<std::mutex> lock;
  if (bytes >= sconce::kLarge && !sconce::is_admitted(bytes, lock)) {
    throw std::bad_alloc();
  }
  void* memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) {
    throw std::bad_alloc();
  }
  return memory;
}
