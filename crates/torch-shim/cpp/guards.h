// What libtorch's operators take on trust and this shim does not.
#pragma once

namespace sconce {

// Makes operators look at what they would believe, for the whole process. Before the first model is loaded.
void guard_operators();

}  // namespace sconce
