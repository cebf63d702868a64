"""The public entry: semi-discrete (entropic) optimal transport from samples of one law to the atoms of another."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import trange

from otgrad import ctransform
from otgrad.asgd import AsgdState, StepRule, asgd_step, check_psi
from otgrad.costs import Cost
from otgrad.measures import DiscreteMeasure, Sampler
from otgrad.semidual import marginal_error, objective

CHECK_EVERY = 50  # steps between two looks at the held-out marginal error
HELD_OUT_BATCHES = 8


class SemiDiscreteOT:
    """Optimal transport between a law one can sample and a weighted point cloud, regularised by lam.

    Maximises the semi-dual `F(psi) = E_x[psi^{c,lam}(x)] + <nu, psi>` (Houdard et al. 2021; Genevay et al. 2016).

    Args:
        y: atoms (n, d); tensor or array. Floats and bytes (uint8) stay as they are, other integers become float32. The
            device of y is the device of everything; points are float64 if y is, else float32. Or a law, such as
            StreamedMeasure.open("atoms.npy"), whose atoms stay in a file.
        nu: masses (n,) >= 0 of any positive total, or None for uniform.
        lam: regularisation >= 0, in units of the cost (0: unregularised, hard assignments).
        cost: "sqeuclidean", "euclidean" or an exponent p of ||x - y||^p.
        normalize: divide the cost by sum_j nu_j ||y_j||^p; lam, psi and all values are then in those units.
        rule: step rule of the solver; the default needs no tuning.
        unit: atom j is the point unit * y_j: 1 / 255 for images kept as bytes and points in [0, 1].

    Attributes:
        converged: whether the last fit met its tol; None without one.

    Raises:
        ValueError: on bad shapes, masses, lam or cost.

    Example:
        >>> import torch
        >>> from otgrad import SemiDiscreteOT
        >>> y = torch.randn(500, 2)
        >>> ot = SemiDiscreteOT(y, lam=0.1).fit(
        ...     lambda b, rng: torch.rand(b, 2, generator=rng), progress=False
        ... )
        >>> ot.barycentric_map(torch.rand(5, 2)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        y: Any,
        nu: Any = None,
        lam: float = 0.1,
        cost: str | float | Cost = "sqeuclidean",
        normalize: bool = False,
        rule: StepRule | None = None,
        unit: float = 1.0,
    ) -> None:
        """Check the data and set psi = 0."""
        if isinstance(lam, bool) or not 0 <= lam < math.inf:
            raise ValueError(f"lam = {lam}: give a finite number >= 0")
        self.target = _measure(y, nu, unit)
        self.lam = float(lam)
        _warn_if_far_from_origin(self.target)
        self.cost = Cost.from_name(cost)
        if normalize:
            self.cost = self.cost.normalized_by(self.target.blocks(), self.target.nu)
        self.rule = rule or StepRule()
        self.converged: bool | None = None
        self._state = AsgdState.zeros(self.target)
        self._held_out: Tensor | None = None

    @property
    def psi(self) -> Tensor:
        """Potential (n,), in units of the cost, with `<nu, psi> = 0`; atoms without mass have 0."""
        return self.target.center(self._state.average)

    def fit(
        self,
        sampler: Sampler,
        batch_size: int = 256,
        max_iter: int = 1000,
        tol: float | None = None,
        progress: bool = True,
        generator: torch.Generator | None = None,
        restart: bool = False,
    ) -> SemiDiscreteOT:
        """Maximise the semi-dual by averaged stochastic ascent, from the present psi (a second call goes on).

        Args:
            sampler: (batch_size, generator) -> fresh points x (b, d) with the dtype of psi and the device of y.
            batch_size: points per step.
            max_iter: number of steps.
            tol: stop once the L1 marginal error on 8 held-out batches is at most tol; looked at every 50 steps. With
                b held-out points and hard assignments it cannot fall below about sqrt(n / b). None: max_iter steps.
            progress: show a progress bar.
            generator: source of randomness handed to the sampler.
            restart: begin the steps anew, long ones first, from the present psi: for a law that has moved since the
                last fit, such as a generator in training. Without it the steps go on shrinking.

        Returns:
            self.

        Raises:
            ValueError: if the sampler's points do not fit y, or a number is out of range.
            FloatingPointError: if points or psi are not finite.
        """
        for name, number in (("batch_size", batch_size), ("max_iter", max_iter)):
            if number < 1:
                raise ValueError(f"{name} = {number}: give an integer >= 1")
        self._held_out = self._draw(sampler, HELD_OUT_BATCHES * batch_size, generator)
        self.converged = None if tol is None else False
        if restart:
            self._state = self._state.restarted()
        for step in trange(1, max_iter + 1, disable=not progress, desc="psi", leave=False):
            x = self._draw(sampler, batch_size, generator)
            asgd_step(self._state, x, self.target, self.lam, self.cost, self.rule)
            if tol is not None and step % CHECK_EVERY == 0 and self._held_out_error() <= tol:
                self.converged = True
                break
        check_psi(self._state, self.rule)
        if self.converged is False:
            warnings.warn(
                f"marginal error {self._held_out_error():.3g} > tol = {tol} after {max_iter} steps: raise max_iter, "
                "batch_size or lam",
                stacklevel=2,
            )
        return self

    def value(self, x: Tensor | None = None) -> float:
        """Compute F(psi) on points x (b, d), by default on the fit's held-out sample: a lower bound of the OT cost.

        Raises:
            RuntimeError: without x before fit.
        """
        if x is None and self._held_out is None:
            raise RuntimeError("value() needs fit() first, or points: value(x)")
        points = self._held_out if x is None else self._check(x)
        assert points is not None
        return float(objective(points, self.target, self.psi, self.lam, self.cost)[0])

    def c_transform(self, x: Tensor) -> Tensor:
        """Compute psi^{c,lam}(x) (b,), in units of the cost; differentiable once in x."""
        return ctransform.c_transform_fixed_psi(self._check(x), self.target, self.psi, self.lam, self.cost)

    def assign(self, x: Tensor) -> Tensor:
        """Compute the assignment pi_j(x) (b, n); rows sum to 1; one-hot at lam = 0."""
        return ctransform.assignment(self._check(x), self.target, self.psi, self.lam, self.cost)

    def barycentric_map(self, x: Tensor) -> Tensor:
        """Compute sum_j pi_j(x) y_j (b, d): where the plan sends x on average."""
        return ctransform.barycentric_map(self._check(x), self.target, self.psi, self.lam, self.cost)

    def loss(self, x: Tensor) -> Tensor:
        """Compute `mean psi^{c,lam}(x) + <nu, psi>`: a scalar whose gradient in x is Algorithm 1's, psi held fixed."""
        return self.c_transform(x).mean() + torch.dot(self.target.nu, self.psi)

    def state_dict(self) -> dict[str, Any]:
        """Return the solver's state (tensors and numbers only, safe for torch.load(weights_only=True))."""
        return {
            "psi": self._state.psi.clone(),
            "average": self._state.average.clone(),
            "k": self._state.k,
            "spread": float(self._state.spread),
            "lam": self.lam,
            "p": self.cost.p,
            "scale": self.cost.scale,
            "held_out": None if self._held_out is None else self._held_out.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state made by `state_dict` of a solver with the same atoms, lam and cost.

        Raises:
            ValueError: if it was made for another number of atoms, lam or cost.
        """
        own = {"n": self.target.n, "lam": self.lam, "p": self.cost.p, "scale": self.cost.scale}
        given = {"n": len(state["psi"]), **{key: state[key] for key in ("lam", "p", "scale")}}
        for key, value in own.items():
            if not math.isclose(given[key], value, rel_tol=0 if key == "n" else 1e-6):
                raise ValueError(f"state has {key} = {given[key]}, this solver {key} = {value}: build it alike")
        psi, average = (state[key].to(self.target.nu) for key in ("psi", "average"))
        self._state = AsgdState(psi.clone(), average.clone(), int(state["k"]), float(state["spread"]))
        held_out = state["held_out"]
        self._held_out = None if held_out is None else held_out.to(self.target.nu)

    def _held_out_error(self) -> float:
        assert self._held_out is not None
        return marginal_error(objective(self._held_out, self.target, self.psi, self.lam, self.cost)[1])

    def _draw(self, sampler: Sampler, batch_size: int, generator: torch.Generator | None) -> Tensor:
        x = self._check(sampler(batch_size, generator)).detach()
        if not bool(torch.isfinite(x).all()):
            raise FloatingPointError("the sampler returned points that are not finite")
        return x

    def _check(self, x: Tensor) -> Tensor:
        d, nu = self.target.y.shape[1], self.target.nu
        if not isinstance(x, Tensor) or x.ndim != 2 or x.shape[1] != d:
            shape = tuple(getattr(x, "shape", ()))
            raise ValueError(f"points have shape {shape}: give a tensor (b, {d}), as wide as y")
        if x.dtype != nu.dtype or x.device != nu.device:
            raise ValueError(f"points are {x.dtype} on {x.device}: give {nu.dtype} on {nu.device}, like psi")
        return x


def _measure(y: Any, nu: Any, unit: float) -> DiscreteMeasure:
    if isinstance(y, DiscreteMeasure):
        if nu is not None or unit != 1:
            raise ValueError("nu and unit are those of the measure y: leave them out")
        return y
    y = torch.as_tensor(y)
    as_it_is = y.is_floating_point() or y.is_complex() or y.dtype == torch.uint8
    return DiscreteMeasure.from_atoms(y if as_it_is else y.float(), nu, unit)


def _warn_if_far_from_origin(target: DiscreteMeasure) -> None:
    """Warn where ||x||^2 + ||y||^2 - 2 <x, y> would cancel in y's precision: float32 loses 1e-4 at this offset."""
    mean = torch.stack([block.sum(dim=0) for block in target.blocks()]).sum(dim=0) / target.n
    offset = float(mean.square().sum())
    spread = float(target.y_sq.mean()) - offset
    if target.nu.dtype != torch.float64 and target.n > 1 and offset > 100 * max(spread, 0.0):
        warnings.warn(
            "y lies far from the origin for float32: subtract its mean from y and from the samples, or use float64",
            stacklevel=3,
        )
