#include "pictures/picture.hpp"

#include <utility>

namespace windtunnel {

void Picture::add(Shape shape) {
  shapes.push_back(std::move(shape));
}

}  // namespace windtunnel
