"""The public entry: semi-discrete (entropic) optimal transport from samples of one law to the atoms of another."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor
from tqdm.auto import trange

from otgrad import checks
from otgrad.costs import Cost
from otgrad.measures import Sampler
from otgrad.semidual import SemiDual, marginal_error
from otgrad.solvers import solver_state
from otgrad.solvers.atoms import OnAtoms, moved
from otgrad.solvers.solver_state import Solved
from otgrad.solvers.stochastic import AsgdState, StepRule, asgd_step, check_psi

CHECK_EVERY = 50  # steps between two looks at the held-out marginal error
HELD_OUT_BATCHES = 8


class SemiDiscreteOT(OnAtoms):
    """Optimal transport between a law one can sample and a weighted point cloud, regularised by lam.

    Maximises the semi-dual `F(psi) = E_x[psi^{c,lam}(x)] + <nu, psi>` (Houdard et al. 2021; Genevay et al. 2016).

    It is a torch module: as an attribute of another one it moves along with it (to, double), and its potential is in
    the other's `state_dict`. Atoms and masses that require grad get one from `loss` (a learnt codebook, weights of
    classes); with nn.Parameter they are this module's parameters.

    Args:
        y: atoms (n, d); tensor or array. Floats and bytes (uint8) stay as they are, other integers become float32. The
            device of y is the device of everything; points are float64 if y is, else float32. A tensor is not copied,
            and looked at again when an operation of torch has changed it in place (an array is copied). Or a law, such
            as StreamedMeasure.open("atoms.npy"), whose atoms stay in a file.
        nu: masses (n,) >= 0 of any positive total, or None for uniform. What was computed, such as a softmax, is good
            for one backward: give it anew to `update`.
        lam: regularisation >= 0, in units of the cost (0: unregularised, hard assignments).
        cost: "sqeuclidean", "euclidean" or an exponent p of ||x - y||^p.
        normalize: divide the cost by sum_j nu_j ||y_j||^p, as it is now; lam, psi and all values are in those units.
        rule: step rule of the solver, or its kind; the default needs no tuning.
        unit: atom j is the point unit * y_j: 1 / 255 for images kept as bytes and points in [0, 1].

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
        rule: StepRule | str | None = None,
        unit: float = 1.0,
    ) -> None:
        """Check the data and set psi = 0."""
        checked_lam = checks.number("lam", lam)
        super().__init__(y, nu, unit)
        self.lam, self.cost, self.rule = checked_lam, Cost.from_name(cost), StepRule.from_kind(rule)
        with torch.inference_mode(False):
            if normalize:
                self.cost = self.cost.normalized_by(self.target.blocks(), self.target.nu)
            self._solved = Solved(AsgdState.zeros(self.target))

    @property
    def semidual(self) -> SemiDual:
        """F, of the atoms and masses as they now are, without a graph."""
        return SemiDual(self.target, self.lam, self.cost)

    @property
    def converged(self) -> bool | None:
        """Whether the last fit met its tol; None without one."""
        return self._solved.converged

    @property
    def psi(self) -> Tensor:
        """Potential (n,), in units of the cost, with `<nu, psi> = 0`; atoms without mass have 0."""
        return self.target.center(self._solved.asgd.average)

    def fit(
        self,
        sampler: Sampler,
        batch_size: int = 256,
        max_iter: int = 1000,
        tol: float | None = None,
        progress: bool = True,
        generator: torch.Generator | None = None,
        restart: bool = False,
    ) -> Self:
        """Maximise the semi-dual by averaged stochastic ascent, from the present psi (a second call goes on).

        Args:
            sampler: (batch_size, generator) -> fresh points x (b, d), a tensor or an array, with the dtype of psi and
                the device of y.
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
        batch_size, max_iter = checks.count("batch_size", batch_size), checks.count("max_iter", max_iter)
        least = None if tol is None else checks.number("tol", tol, finite=False)
        held_out = self._draw(sampler, HELD_OUT_BATCHES * batch_size, generator)
        with torch.inference_mode(False):  # so that a fit outside of that mode can go on
            asgd = self._solved.asgd.restarted() if restart else self._solved.asgd
            self._solved = Solved(asgd, held_out.clone(), None if least is None else False)
        error = 0.0
        for step in trange(1, max_iter + 1, disable=not progress, desc="psi", leave=False):
            asgd_step(self._draw(sampler, batch_size, generator), self.semidual, state=asgd, rule=self.rule)
            if least is not None and (step % CHECK_EVERY == 0 or step == max_iter):
                error = marginal_error(self.semidual.step(held_out, self.psi)[1])
                self._solved.converged = error <= least
                if self._solved.converged:
                    break
        check_psi(asgd, self.rule)
        if self.converged is False:
            warnings.warn(
                f"marginal error {error:.3g} > tol = {least} after {max_iter} steps: raise max_iter, batch_size or lam",
                stacklevel=2,
            )
        return self

    def value(self, x: Tensor | None = None) -> float:
        """Compute F(psi) on points x (b, d), by default on the fit's held-out sample: a lower bound of the OT cost.

        Raises:
            RuntimeError: without x before fit.
        """
        points = self._solved.held_out if x is None else self._check(x, 1)
        if points is None:
            raise RuntimeError("value() needs fit() first, or points: value(x)")
        return float(self.semidual.value(points, self.psi)[0])

    def c_transform(self, x: Tensor) -> Tensor:
        """Compute psi^{c,lam}(x) (b,), in units of the cost; differentiable as `loss` is."""
        return self.semidual.fixed_psi(self._check(x), self.psi, *self.live())

    def assign(self, x: Tensor) -> Tensor:
        """Compute the assignment pi_j(x) (b, n); rows sum to 1; one-hot at lam = 0."""
        return replace(self.semidual, law=self.live_law()).assignment(self._check(x), self.psi)

    def barycentric_map(self, x: Tensor) -> Tensor:
        """Compute sum_j pi_j(x) y_j (b, d): where the plan sends x on average."""
        x = self._check(x)
        if len(x) == 0:
            return torch.zeros_like(x)
        return replace(self.semidual, law=self.live_law()).barycentric_map(x, self.psi)

    def loss(self, x: Tensor) -> Tensor:
        """Compute `mean psi^{c,lam}(x) + <nu, psi>`: a scalar whose gradient in x is Algorithm 1's, psi held fixed.

        It is differentiable to any order, also under torch.func, in x and in atoms and masses that require grad. At the
        optimum of psi its gradient is that of the transport cost (envelope theorem):

            dW/dx_i = 1/b sum_j pi_ij grad_x c_ij,  dW/dy_j = 1/b sum_i pi_ij grad_y c_ij,  dW/dnu_j = psi_j + constant

        In masses the gradient is projected to those of one total; beside psi_j it has lam times the batch's excess at
        atom j, of mean 0 at the optimum.
        """
        x, (y, nu) = self._check(x, 1), self.live()
        mean = self.semidual.fixed_psi(x, self.psi, y, nu).mean()
        return mean + torch.dot(self.target.nu if nu is None else nu, self.psi)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the loss."""
        return self.loss(x)

    def state_dict(self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """Return the solver's state (tensors and numbers only, safe for torch.load(weights_only=True)).

        As a part of another module's state it is of tensors alone.
        """
        own = self._solved.written(self.lam, self.cost)
        own |= {name: value if keep_vars else value.detach() for name, value in self.named_parameters()}
        if destination is None:
            return own
        destination.update({f"{prefix}{key}": value for key, value in solver_state.as_tensors(own).items()})
        return destination

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> None:  # type: ignore[override]
        """Take over a state made by `state_dict` of a solver with the same atoms, lam and cost.

        Raises:
            ValueError: if it was made for another number of atoms, lam or cost, or is no such state.
        """
        with torch.inference_mode(False), torch.no_grad():
            self._solved = solver_state.read(state_dict, self.semidual)
            for name, value in self.named_parameters():
                if name in state_dict:
                    value.copy_(state_dict[name])

    def _load_from_state_dict(self, state_dict, prefix, metadata, strict, missing, unexpected, errors) -> None:  # type: ignore[override]
        """Take this module's part of another one's state."""
        own = {key.removeprefix(prefix): value for key, value in state_dict.items() if key.startswith(prefix)}
        lacking = [key for key in (*solver_state.NEEDED, *dict(self.named_parameters())) if key not in own]
        missing.extend(prefix + key for key in lacking)
        known = {*self._solved.written(self.lam, self.cost), *dict(self.named_parameters())}
        unexpected.extend(prefix + key for key in own if strict and key not in known)
        if lacking:
            return
        try:
            self.load_state_dict(own)
        except ValueError as error:
            errors.append(f"{prefix.rstrip('.')}: {error}")

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self._solved = self._solved.moved(lambda t: moved(t, fn).to(self.target.nu.dtype))
        return self

    def _draw(self, sampler: Sampler, batch_size: int, generator: torch.Generator | None) -> Tensor:
        x = self._check(sampler(batch_size, generator), 1).detach()
        if not checks.is_finite(x):
            raise FloatingPointError("the sampler returned points that are not finite")
        return x

    def _check(self, x: Any, least: int = 0) -> Tensor:
        return checks.points("points", x, self.target.y.shape[1], self.target.nu, least)
