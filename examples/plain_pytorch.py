"""Train any PyTorch model on a distilled set, without distail's training loop.

distail distill digits --imbalance 50 --ipc 5 --arch convnet2 --set iterations=100 --out runs/digits
python examples/plain_pytorch.py runs/digits
"""

import sys

import torch
from torch import nn
from torch.utils.data import DataLoader

import distail

small = distail.load_distilled(sys.argv[1] if len(sys.argv) > 1 else "runs/digits")
test = distail.load_test("digits")

model = nn.Sequential(nn.Flatten(), nn.LazyLinear(64), nn.ReLU(), nn.Linear(64, small.num_classes))
loader = DataLoader(small.as_dataset(soft=True), batch_size=16, shuffle=True)
model(small.images[:1])  # gives the lazy layer its size before the optimiser takes its parameters
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for _ in range(100):
    for images, targets in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), targets).backward()
        optimizer.step()

# Test images must pass through the preprocessing that is stored with the set.
with torch.no_grad():
    predicted = model(small.preprocessing.apply(test.images)).argmax(dim=1)
print(f"{(predicted == test.labels).float().mean():.1%} of {len(test)} test images right")
