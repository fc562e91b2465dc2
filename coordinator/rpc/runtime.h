// How gRPC runs in a process of ours: what it logs, how it locks, how it waits.
#pragma once

namespace octet::rpc {

// REQUIRES: nothing of gRPC was used yet, and no other thread runs that reads the environment,
// which processes started later inherit. An explicit wish that stands there stays.
void PrepareRuntime();

}  // namespace octet::rpc
