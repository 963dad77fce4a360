// The whole C++ half as one unit: reading torch's headers takes most of the time, and so they are read once.
#include "allocator.cpp"
#include "devices.cpp"
#include "errors.cpp"
#include "inspect.cpp"
#include "module.cpp"
#include "packed.cpp"
#include "tensors.cpp"
#include "values.cpp"
