// Catch2 beside LibTorch, whose logging library has a CHECK of its own that aborts. Comes first.
#pragma once

#include <c10/util/Logging.h>
#undef CHECK

#include "../catch.hpp"
