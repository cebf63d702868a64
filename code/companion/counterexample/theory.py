"""Why the plain gradient fails and the entropic one does not: closed forms, and what they can be held against.

Three instances with two atoms of mass 1/2 and the cost ||x - y||^2. In each of them the function to descend is a
parabola minus a softened absolute value, |a|_lam = lam log cosh(a / lam), which is |a| at lam = 0:

    F^lam(psi*(theta_0), theta) = W_c(theta) - |<theta - theta_0, y_1 - y_2>|_lam    Dirac and segment (Proposition 1)
    W_c^lam(theta)              = theta^2 + 1 - |2 theta|_lam                        dilation, below

The slope of the second term jumps at lam = 0 and turns within a width lam otherwise: a Lipschitz constant of 1 / lam.
The dilation g_theta(z) = theta z of z = -1, 1 onto y = -1, 1 is the instance in which lam changes the cost itself: by
symmetry psi* = 0 at every theta, the minimiser theta = tanh(2 theta / lam) shrinks as lam grows, and is 0 for lam >= 2.

All is float64, on the CPU. lam >= 0 is in units of ||x - y||^2, not normalised.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from companion.counterexample.descent import Instance, optimal_psi, transport_cost
from otgrad.measures import Sampler
from otgrad.semidual import SemiDual
from otgrad.solvers.exact import solve_exact


def soft_abs(a: Tensor, lam: float) -> Tensor:
    """Compute |a|_lam = lam log cosh(a / lam), elementwise, without overflow; |a| at lam == 0."""
    if lam == 0:
        return a.abs()
    return a.abs() + lam * (torch.log1p(torch.exp(-2 * a.abs() / lam)) - math.log(2))


def soft_sign(a: Tensor, lam: float) -> Tensor:
    """Differentiate |a|_lam: tanh(a / lam), elementwise; sign(a) at lam == 0, and 0 at its jump."""
    return torch.sign(a) if lam == 0 else torch.tanh(a / lam)


def axis_between_atoms(instance: Instance) -> Tensor:
    """y_1 - y_2 (2,): normal to the interface of the two Laguerre cells."""
    return instance.target.y[0] - instance.target.y[1]


def frozen_dual(instance: Instance, theta_0: Tensor, theta: Tensor, lam: float) -> Tensor:
    """Compute `F^lam(psi*(theta_0), theta) = W_c(theta) - |<theta - theta_0, y_1 - y_2>|_lam`.

    F touches W_c from below at theta_0, with W_c's slope if lam > 0.

    Args:
        instance: Dirac or segment.
        theta_0: where psi is optimal (2,).
        theta: points (m, 2).
        lam: regularisation >= 0.

    Returns:
        (m,), in units of the cost.
    """
    across = (theta - theta_0) @ axis_between_atoms(instance)
    cost = (theta - instance.theta_star).square().sum(1) + transport_cost(instance, instance.theta_star)
    return cost - soft_abs(across, lam)


def frozen_dual_gradient(instance: Instance, theta_0: Tensor, theta: Tensor, lam: float) -> Tensor:
    """Compute grad_theta F^lam(psi*(theta_0), theta) (m, 2); arguments as `frozen_dual`.

    On the interface `<theta - theta_0, y_1 - y_2> = 0` it does not exist at lam == 0: the mean of both sides is given.
    At theta_0 the Hessian is 2 I - (y_1 - y_2)(y_1 - y_2)^T / lam: with psi held fixed theta* attracts only if
    lam > ||y_1 - y_2||^2 / 2. Below that psi must be solved again as theta moves.
    """
    axis = axis_between_atoms(instance)
    turn = soft_sign((theta - theta_0) @ axis, lam)
    return 2 * (theta - instance.theta_star) - turn[:, None] * axis


def quadrature(instance: Instance) -> Tensor:
    """Equally weighted latent points that stand for zeta exactly: the Dirac's one, the segment's two Gauss nodes.

    On the segment F is the mean of a quadratic in z, since all z see the same difference of costs.
    """
    mean = torch.tensor([instance.latent_mean], dtype=torch.float64)
    if instance.latent_variance == 0:
        return mean
    along = torch.tensor([[0.0, math.sqrt(instance.latent_variance)]], dtype=torch.float64)
    return torch.cat([mean - along, mean + along])


def solved_frozen_dual(instance: Instance, theta_0: Tensor, theta: Tensor, lam: float) -> Tensor:
    """Compute what `frozen_dual` states from the definitions: psi* by `solve_exact`, F by `SemiDual.value`.

    At lam == 0 psi* is the closed form's, since the exact solver stops at a duality gap of 1e-4 there.
    """
    z, semidual = quadrature(instance), SemiDual(instance.target, lam)
    psi = solve_exact(z - theta_0, None, semidual).psi if lam > 0 else optimal_psi(instance, theta_0)
    return torch.stack([semidual.value(z - point, psi)[0] for point in theta])


def dilation_cost(theta: Tensor, lam: float) -> Tensor:
    """Compute W_c^lam(theta) = theta^2 + 1 - |2 theta|_lam elementwise; (|theta| - 1)^2 at lam == 0."""
    return theta.square() + 1 - soft_abs(2 * theta, lam)


def dilation_derivative(theta: Tensor, lam: float) -> Tensor:
    """Compute dW_c^lam / dtheta = 2 theta - 2 tanh(2 theta / lam), elementwise; at lam == 0 it jumps by 4 at 0."""
    return 2 * theta - 2 * soft_sign(2 * theta, lam)


def solved_dilation(theta: float, lam: float) -> tuple[float, float]:
    """Compute cost and derivative from the definitions: psi* by `solve_exact`, the slope by the gradient formula.

    At lam == 0 the value is a lower bound, by 1e-4 of it at most, and the slope at 0 that of one side.
    """
    z = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)  # the latent points, and the atoms
    semidual = SemiDual.of(z, None, lam)
    solution = solve_exact(theta * z, None, semidual)
    _, gradients = semidual.x_grad(theta * z, solution.psi)
    return solution.value, float((z * gradients).mean())


def dilation_minimiser(lam: float) -> float:
    """Solve theta = tanh(2 theta / lam) for the largest theta in [0, 1], by bisection; 0 for lam >= 2."""
    if lam == 0:
        return 1.0
    if lam >= 2:
        return 0.0
    a = 2 / lam
    low, high = math.sqrt(3 * (a - 1) / a**3), 1.0  # tanh(x) >= x - x^3 / 3 bounds the root from below
    for _ in range(60):  # 2^-60 of the bracket: below rounding
        middle = (low + high) / 2
        low, high = (middle, high) if math.tanh(a * middle) > middle else (low, middle)
    return (low + high) / 2


def gaussian_cost(scale: float, variance: float, lam: float) -> float:
    """Compute W_c^lam between N(0, scale^2) and N(0, variance) on the line, for scale, variance, lam > 0.

    The optimal plan is Gaussian, and its covariance k solves k^2 + lam k / 2 = scale^2 variance.
    """
    product = scale**2 * variance
    k = math.sqrt(lam**2 / 16 + product) - lam / 4
    return scale**2 + variance - 2 * k - lam / 2 * math.log1p(-(k**2) / product)


def gaussian_minimiser(variance: float, lam: float) -> float:
    """Compute the scale s >= 0 at which `gaussian_cost` is least: s^2 = max(variance - lam / 2, 0).

    In several dimensions the least N(0, S) has S = max(Sigma - (lam / 2) I, 0) in the eigenvectors of the data's
    Sigma: exp(-||x - y||^2 / lam) is a Gaussian kernel of variance lam / 2 that blurs the model. Claims: A-shrinkage.
    """
    return math.sqrt(max(variance - lam / 2, 0.0))


def modulus_of_continuity(gradients: Tensor, spacing: float, step: float) -> float:
    """Largest ||grad(s) - grad(t)|| over grid points with |s - t| <= step.

    Args:
        gradients: values (m, k) at m evenly spaced points of a line.
        spacing: distance of two neighbours.
        step: at least `spacing`, in the same units.

    Raises:
        ValueError: if step is less than spacing or more than the line.
    """
    lags = math.floor(step / spacing + 1e-9)
    if not 1 <= lags < len(gradients):
        raise ValueError(f"step = {step}: give between {spacing} and {spacing * (len(gradients) - 1)}")
    return max(float((gradients[lag:] - gradients[:-lag]).norm(dim=1).max()) for lag in range(1, lags + 1))


def curvature_bounds(speed: float, radius: float, lam: float) -> tuple[float, float]:
    """Bound d^2/dt^2 of W_c^lam and of F^lam(psi*, .) along a line theta_0 + t v, for lam > 0 and ||x - y||^2.

    For a generator linear in theta, W_c^lam is E||x||^2 plus a minimum over plans of functions linear in theta, whose
    concavity is a variance under the plan, divided by lam. Attained by all three instances, where every point ties.

    Args:
        speed: sqrt(E||d_theta g_theta(z) v||^2).
        radius: of a ball that holds the atoms, max_j ||y_j - m|| for some m.
        lam: regularisation > 0.

    Returns:
        2 speed^2 (1 - 2 radius^2 / lam) and 2 speed^2; the larger absolute value is a Lipschitz constant.
    """
    return 2 * speed**2 * (1 - 2 * radius**2 / lam), 2 * speed**2


def kink_modulus(jump: float, lam: float, step: float) -> float:
    """Compute the modulus of continuity of t -> 2 t - a tanh(a t / lam) with a = jump / 2, on the whole line.

    That is the derivative of all three instances across their interface. For step << lam << 1 it is about
    (a^2 / lam - 2) step; as lam -> 0 it tends to the jump, which no step makes small.
    """
    a = jump / 2
    if lam == 0:
        return max(jump, 2 * step)
    if 2 * lam >= a**2:
        return 2 * step  # far from the interface
    widest = 2 * lam / a * math.acosh(a / math.sqrt(2 * lam))  # where the difference would be largest
    width = min(step, widest)
    return max(2 * step, 2 * a * math.tanh(a * width / (2 * lam)) - 2 * width)


def gradient_bias(instance: Instance, delta: float, lam: float) -> Tensor:
    """Bias (2,) of the theta-gradient if psi_1 - psi_2 is off by delta: (y_1 - y_2) tanh(delta / (2 lam)).

    Linear in delta below lam, and bounded by half the jump; at lam == 0 it is half the jump for every delta != 0.
    """
    return soft_sign(torch.tensor(delta / 2, dtype=torch.float64), lam) * axis_between_atoms(instance)


def gradient_variance(instance: Instance, batch_size: int) -> float:
    """Trace of the minibatch gradient's covariance, 4 Var(zeta) / b, for every psi, theta and lam."""
    return 4 * instance.latent_variance / batch_size


def bias_bound(speed: float, radius: float, error: float, lam: float) -> float:
    """Bound `|<bias, v>|` by 2 speed radius error / lam for ||x - y||^2 and lam > 0, attained as error -> 0 at a tie.

    Args:
        speed: E||d_theta g_theta(z) v||.
        radius: of a ball that holds the atoms.
        error: max_j |psi_j - psi*_j|, in the gauge in which it is least.
        lam: regularisation > 0.
    """
    return 2 * speed * radius * error / lam


def bias_and_variance(
    gradient: Callable[[Tensor], Tensor],
    latent: Sampler,
    exact: Tensor,
    batch_size: int,
    batches: int,
    rng: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Estimate bias and variance (p,) of a stochastic gradient; the bias has standard error sqrt(variance / batches).

    Args:
        gradient: from a batch of latents (b, k) to theta's gradient (p,).
        latent: law of the latents.
        exact: the gradient that is meant (p,).
        batch_size: b.
        batches: how many are drawn.
        rng: source of the draws.
    """
    draws = torch.stack([gradient(latent(batch_size, rng)) for _ in range(batches)])
    return draws.mean(0) - exact, draws.var(0)
