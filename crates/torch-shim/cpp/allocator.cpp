// What jemalloc reads when it starts, in a program that is linked with it; nobody else looks at this.
//
// By default it gives allocations of 8 MiB and more back to the system as soon as they are freed. A network
// of convolutions makes and frees dozens of those in each run: ResNet-50 with four rows spent 43 of 195 ms a
// row in the system, for pages that were taken and given back. Like all others they are now kept, for three seconds: the next run is there by then
// or nobody needs them.

extern "C" {
extern const char* malloc_conf;
const char* malloc_conf = "oversize_threshold:0,dirty_decay_ms:3000";
}
