// How much memory models may take.
//
// A run takes what the code and the numbers of its request ask for. So allocations ask first, large ones each and small ones
// whenever a thread has made another MiB of them: libtorch's tensors
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

// From this size on each allocation asks, and smaller ones when they have come to as much.
constexpr size_t kLarge = size_t{1} << 20;

// What whoever was refused something may still take, to say so and to put things away. Not more: libtorch itself catches what
// fails while it folds constants, and goes on.
constexpr uint64_t kWayOut = uint64_t{16} << 20;

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
// How many bytes this thread has allocated since it started, and at how many it asks again.
thread_local const uint64_t* allocated_here = nullptr;
thread_local uint64_t ask_at = 0;

template <typename T>
T told(const char* name) {
  T value{};
  size_t length = sizeof(value);
  mallctl(name, &value, &length, nullptr, 0);
  return value;
}

// Bytes that this thread has allocated and not freed, as a difference that may wrap: what it frees, others may have allocated.
uint64_t balance() {
  thread_local const uint64_t* freed = told<uint64_t*>("thread.deallocatedp");
  if (allocated_here == nullptr) {
    allocated_here = told<uint64_t*>("thread.allocatedp");
  }
  return allocated_here != nullptr && freed != nullptr ? *allocated_here - *freed : 0;
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

// What the process has taken, in two ways, less the buffers, which are set aside.
struct Taken {
  // With what lies freed in the allocator, and without what was not touched yet.
  uint64_t resident;
  // When all that is allocated is touched.
  uint64_t allocated;
};

Taken taken() {
  uint64_t epoch = 1;
  size_t length = sizeof(epoch);
  mallctl("epoch", &epoch, &length, &epoch, length);
  const uint64_t all = resident();
  const uint64_t mapped = told<size_t>("stats.resident");
  const uint64_t outside = all > mapped ? all - mapped : 0;
  const auto ask = buffered.load(std::memory_order_relaxed);
  const uint64_t in_buffers = ask == nullptr ? 0 : ask();
  const auto without_buffers = [in_buffers](uint64_t bytes) { return bytes > in_buffers ? bytes - in_buffers : 0; };
  return {without_buffers(all), without_buffers(told<size_t>("stats.allocated") + outside)};
}

// Gives back to the system what lies freed in all arenas (4096 stands for all, jemalloc(3)).
void give_back() { mallctl("arena.4096.purge", nullptr, nullptr, nullptr, 0); }

// Lets an allocation happen, under the lock that comes back if it needs one, or notes that it may not.
bool is_admitted_when_asked(size_t bytes, std::unique_lock<std::mutex>& lock) {
  const uint64_t most = limit.load(std::memory_order_relaxed);
  ask_at = *allocated_here + kLarge;
  if (most == 0 || current->is_on_the_way_out(bytes) || current->held() + bytes <= current->assured()) {
    return true;
  }
  lock = std::unique_lock<std::mutex>(turn);
  const Taken now = taken();
  const uint64_t wanted = set_aside.load(std::memory_order_relaxed) + bytes;
  if (now.allocated + wanted > most) {
    current->refuse(bytes, most);
    return false;
  }
  if (now.resident + wanted > most) {
    // What the last runs freed lies in pieces that this one may not fit into.
    give_back();
  }
  return true;
}

inline bool is_admitted(size_t bytes, std::unique_lock<std::mutex>& lock) {
  if (current == nullptr || (bytes < kLarge && *allocated_here < ask_at)) {
    return true;
  }
  return is_admitted_when_asked(bytes, lock);
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
    try {
      return inner_->allocate(bytes);
    } catch (const c10::Error&) {
      // The system may refuse what lies freed in the allocator.
      give_back();
      return inner_->allocate(bytes);
    }
  }

  bool is_simple_data_ptr(const c10::DataPtr& data) const override { return inner_->is_simple_data_ptr(data); }
  c10::DeleterFnPtr raw_deleter() const override { return inner_->raw_deleter(); }
  void copy_data(void* to, const void* from, size_t bytes) const override { inner_->copy_data(to, from, bytes); }

 private:
  c10::Allocator* inner_;
};

}  // namespace

Account::Account(Of what) : what_(what), before_(balance()), outer_(current) {
  // Without the allocator that counts, nobody asks.
  current = allocated_here == nullptr ? nullptr : this;
}

Account::~Account() { current = outer_; }

uint64_t Account::held() const {
  const auto held = static_cast<int64_t>(balance() - before_);
  return held > 0 ? static_cast<uint64_t>(held) : 0;
}

void Account::refuse(uint64_t bytes, uint64_t most) {
  if (is_refused()) {
    return;
  }
  refused_ = bytes > 0 ? bytes : 1;
  most_ = most;
  held_then_ = held();
}

bool Account::is_on_the_way_out(size_t bytes) const { return is_refused() && held() + bytes <= held_then_ + kWayOut; }

void Account::check() const {
  if (refused_ != 0) {
    const std::string asked = refused_ < kLarge ? "little" : std::to_string(refused_ >> 20) + " MiB";
    const std::string held = std::to_string(held_then_ >> 20) + " MiB";
    throw ShimError(
        SCONCE_ERROR_OUT_OF_MEMORY, "there is no room for the " + asked + " that the model asks for, beside the " + held +
                                        " that it has taken for this: the process may take " +
                                        std::to_string(most_ >> 20) + " MiB (limits.memory_bytes) with models and requests");
  }
}

uint64_t Account::assured() const { return what_ == Of::kRun ? share.load(std::memory_order_relaxed) : 0; }

}  // namespace sconce

void sconce_watch_allocations(void) {
  static std::once_flag once;
  std::call_once(once, [] { c10::SetCPUAllocator(new sconce::BoundedAllocator(c10::GetDefaultCPUAllocator()), 1); });
}

void sconce_bound_memory(uint64_t most, uint64_t aside, uint64_t each, uint64_t (*buffered)(void)) {
  sconce_watch_allocations();
  sconce::buffered.store(buffered, std::memory_order_relaxed);
  sconce::share.store(each, std::memory_order_relaxed);
  sconce::set_aside.store(aside, std::memory_order_relaxed);
  sconce::limit.store(most, std::memory_order_relaxed);
}

// The one that all of C++ in the process uses. As the standard library's, but that an allocation may be refused.
__attribute__((visibility("default"))) void* operator new(size_t bytes) {
  std::unique_lock<std::mutex> lock;
  if (!sconce::is_admitted(bytes, lock)) {
    throw std::bad_alloc();
  }
  void* memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) {
    sconce::give_back();
    memory = std::malloc(bytes == 0 ? 1 : bytes);
  }
  if (memory == nullptr) {
    throw std::bad_alloc();
  }
  return memory;
}
