"""A simulated capture of CUDA graphs, which enforces their rules on a CPU."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

# Operations that synchronise with the host, or whose random numbers would be fixed at capture.
FORBIDDEN = ("_local_scalar_dense", "is_nonzero", "rand", "normal", "uniform", "nonzero")


class Capture(TorchDispatchMode):
    """Simulates the capture of a CUDA graph: records the operations of a function with their tensors, and replays them.

    Like a CUDA graph, it has no effect during the capture, and a replay runs no Python: it changes only the recorded
    memory.
    """

    def __init__(self):
        super().__init__()
        self.replays = 0

    def __call__(self, function):
        self._operations = operations = []
        self._before, self._own = {}, []
        with self:
            values = function()
        for memory, content in self._before.values():
            memory.copy_(content)

        def replay():
            self.replays += 1
            with torch.no_grad():
                for operation, arguments, options, outputs in operations:
                    self._replay(operation, arguments, options, outputs)
            return values.clone()

        return replay

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = operation.overloadpacket.__name__
        assert not name.startswith(FORBIDDEN), f"{name} cannot be recorded"
        made = {memory.data_ptr() for memory in self._own}
        for memory in _storages((args, kwargs)):
            if memory.data_ptr() not in made:
                self._before.setdefault(memory.data_ptr(), (memory, memory.clone()))
        outputs = operation(*args, **(kwargs or {}))
        self._own += [memory for memory in _storages(outputs) if memory.data_ptr() not in self._before]
        self._operations.append((operation, args, kwargs or {}, outputs))
        return outputs

    @staticmethod
    def _replay(operation, arguments, options, outputs):
        # Copy into the recorded memory, because modules may have replaced their tensors.
        found = operation(*arguments, **options)
        for old, new in zip(_tensors(outputs), _tensors(found), strict=True):
            if old.data_ptr() != new.data_ptr():
                old.copy_(new)


def _storages(value):
    return [tensor.untyped_storage() for tensor in _tensors(value)]


def _tensors(value):
    found = []
    tree_map_only(torch.Tensor, found.append, value)
    return found
