#pragma once

#include <utility>

#include "sinkrouter/engine.h"

namespace sinkrouter {

// Takes the observer off again however the observed work ends.
class ObserverGuard {
 public:
  ObserverGuard(Engine& engine, AttentionObserver observer) : engine_(engine) {
    engine_.set_attention_observer(std::move(observer));
  }
  ~ObserverGuard() { engine_.set_attention_observer({}); }
  ObserverGuard(const ObserverGuard&) = delete;
  ObserverGuard& operator=(const ObserverGuard&) = delete;

 private:
  Engine& engine_;
};

}  // namespace sinkrouter
