"""A run spread over several processes: FSDP2, tensor, pipeline, expert and context parallelism on one grid.

`torchrun --nproc-per-node N -m train run …` starts them; they talk by gloo on CPUs and by nccl on GPUs.

    mesh         the grid: coordinates and groups       split     what a process holds of every parameter
    collectives  messages that have a gradient          pipeline  a stage of the model, and the 1F1B schedule
    ring         attention over keys that go round      together  the face that the trainer sees (train.processes)

Sums over processes are taken in another order than in one, so that losses differ in their last bits; with the same
grid they are equal to the bit. The rows of a step, their order and the tokens by which losses are divided are the same
for every grid. Every process builds the whole model and keeps its part: a model must fit once into the memory of each.
"""
