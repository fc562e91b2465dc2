// What is refused by name before a family reads anything: models of other kinds.
#pragma once

#include <string>

#include "base/status.h"
#include "worker/model/families/config_reader.h"

namespace octet::worker {

// Unimplemented, with the reason, where `architecture` or a key of config.json is one of a model
// that is not a dense decoder of text.
Status RefuseOtherKinds(const ConfigReader& config, const std::string& architecture);

}  // namespace octet::worker
