"""An ordinary VQ latent action model, and the same one after three lines: one model for every number of codes.

    python examples/upgrade_vq_lam.py

trains both on squares that move over noise (a minute on one core) and prints how well each decodes with 0, 1, 2 and 4
codes. The model is written as the public ones are: a convolutional inverse model over two frames, vector quantisation
with a straight-through gradient, a forward model from one frame and the codes. Nothing of it comes from flexlam; the
three lines are marked.
"""

import argparse

import torch
from torch import nn

from flexlam import RetainedPrefix  # line 1

SIZE, NUM_SLOTS, DIM, NUM_CODES = 16, 4, 2, 32


class VectorQuantizer(nn.Module):
    """The nearest of a set of learned vectors, with a straight-through gradient (van den Oord et al. 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.codebook = nn.Embedding(NUM_CODES, DIM)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Quantised vectors (B, K, D) and the loss that draws both sides together."""
        nearest = torch.cdist(x.flatten(0, 1), self.codebook.weight).argmin(-1).view(x.shape[:2])
        found = self.codebook(nearest)
        loss = (found - x.detach()).square().mean() + 0.25 * (x - found.detach()).square().mean()
        return x + (found - x).detach(), loss


class LatentActionModel(nn.Module):
    """o_t, o_{t+1} -> K codes -> o_{t+1}."""

    def __init__(self, variable_length: bool) -> None:
        super().__init__()
        self.inverse = nn.Sequential(
            *(nn.Conv2d(6, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(64 * 16, NUM_SLOTS * DIM), nn.BatchNorm1d(NUM_SLOTS * DIM, affine=False)),
            nn.Unflatten(1, (NUM_SLOTS, DIM)),
        )
        self.quantizer = VectorQuantizer()
        self.prefix = RetainedPrefix(NUM_SLOTS, DIM) if variable_length else None  # line 2
        self.down = nn.Sequential(nn.Conv2d(3, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU())
        self.condition = nn.Sequential(nn.Linear(NUM_SLOTS * DIM, 128), nn.ReLU(), nn.Linear(128, 64 * 16))
        self.up = nn.Sequential(
            *(nn.Conv2d(128, 64, 3, 1, 1), nn.ReLU(), nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU()),
            nn.ConvTranspose2d(32, 3, 4, 2, 1),
        )

    def forward(
        self, obs: torch.Tensor, next_obs: torch.Tensor, num_codes: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The predicted next frame and the loss of the quantiser; `num_codes` keeps the first few in evaluation."""
        z, loss = self.quantizer(self.inverse(torch.cat([obs, next_obs], 1)))
        if self.prefix is not None:
            z, _ = self.prefix(z, num_codes)  # line 3: random lengths in training, a chosen one (or all) in evaluation
        elif num_codes is not None:
            z = torch.where(torch.arange(NUM_SLOTS)[:, None] < num_codes, z, 0.0)  # what cutting codes off would do
        condition = self.condition(z.flatten(1)).view(-1, 64, 4, 4)
        return obs + self.up(torch.cat([self.down(obs), condition], 1)), loss


def squares(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs of frames (B, 3, 16, 16): a square on noise, which steps by up to four pixels in each direction."""
    random = torch.Generator().manual_seed(seed)
    ground = 0.3 * torch.rand(count, 3, SIZE, SIZE, generator=random)
    start = torch.randint(4, SIZE - 8, (count, 2), generator=random)
    end = start + torch.randint(-4, 5, (count, 2), generator=random)
    places = torch.arange(SIZE)

    def draw(corner: torch.Tensor) -> torch.Tensor:
        rows, columns = ((places >= at[:, None]) & (places < at[:, None] + 4) for at in corner.unbind(1))
        return torch.where((rows[:, :, None] & columns[:, None, :])[:, None], 1.0, ground)

    return draw(start), draw(end)


def train(variable_length: bool, num_steps: int) -> dict[int, float]:
    """Squared error relative to copying the present frame, on fresh pairs, by number of codes."""
    torch.manual_seed(0)
    model = LatentActionModel(variable_length)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for step in range(num_steps):
        obs, next_obs = squares(64, step)
        predicted, quantizer_loss = model(obs, next_obs)
        loss = (predicted - next_obs).square().mean() + quantizer_loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    obs, next_obs = squares(512, 10**6)
    copied = (obs - next_obs).square().mean()
    with torch.no_grad():
        errors = {k: (model(obs, next_obs, k)[0] - next_obs).square().mean() / copied for k in (0, 1, 2, NUM_SLOTS)}
    return {k: float(error) for k, error in errors.items()}


def main(arguments: list[str] | None = None) -> dict[str, dict[int, float]]:
    """Train both, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-steps", type=int, default=1500)
    num_steps = parser.parse_args(arguments).num_steps
    torch.set_num_threads(1)
    found = {"ordinary": train(False, num_steps), "variable-length": train(True, num_steps)}
    print("error over copying:", *(f"k = {k}" for k in found["ordinary"]), sep="\t")
    for name, errors in found.items():
        print(f"{name:<18}", *(f"{error:.2f}" for error in errors.values()), sep="\t")
    return found


if __name__ == "__main__":
    main()
