import torch

# One thread: small tensors gain nothing from more, and a busy machine loses much at every barrier.
torch.set_num_threads(1)
