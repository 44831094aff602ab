#include "backend/comm/urgent.hpp"

#include <pthread.h>

namespace windtunnel {

Urgent::Urgent() {
  const pthread_t self = pthread_self();
  pthread_getschedparam(self, &policy_, &parameter_);
  sched_param lowest{};
  lowest.sched_priority = sched_get_priority_min(SCHED_RR);
  if (pthread_setschedparam(self, SCHED_RR, &lowest) == 0) return;
  lowest.sched_priority = 0;
  pthread_setschedparam(self, SCHED_BATCH, &lowest);
}

Urgent::~Urgent() {
  pthread_setschedparam(pthread_self(), policy_, &parameter_);
}

}  // namespace windtunnel
