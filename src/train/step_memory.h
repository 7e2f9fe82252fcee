// Memory of a training step kept for the next one. Every step asks for the same large blocks; given back to
// the system each time, a tenth of a step goes into having them cleared and mapped again.
#pragma once

namespace uniscale::train {

// While one lives, torch's CPU tensors of 64 KiB and more come from blocks that are kept when a tensor dies,
// in huge pages where the system has them; what is free is given back at the end of the last one. Tensors may
// outlive it. Thread-safe.
class StepMemory {
 public:
  StepMemory();
  ~StepMemory();
  StepMemory(const StepMemory&) = delete;
  StepMemory& operator=(const StepMemory&) = delete;
};

}  // namespace uniscale::train
