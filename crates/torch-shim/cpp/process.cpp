// Forks, without what the C library adds to it.

#include <cerrno>
#include <csignal>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim.h"

long sconce_fork_as_sibling(void) {
  // No new stack, so that it goes on here like a fork; the order of the three zeros does not matter.
  const long id = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0L, 0L, 0L, 0L);
  return id < 0 ? -static_cast<long>(errno) : id;
}
