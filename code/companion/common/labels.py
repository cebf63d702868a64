"""The names by which readers know things: methods, laws, arms, runs, variants, sets of samples, measured quantities.

Figures, tables, rows of the verification and evidence all ask here. Names are made from settings and columns, never
from the name of a run or a folder.
"""

GENERATORS = {"mlp": "MLP", "dcgan": "DCGAN"}
METHODS = {
    "w1fe": "W1-FE",
    "w1fe-ab2": "W1-FE, Adams-Bashforth",
    "wgan": "WGAN",
    "wgan-stale": "WGAN, gradient kept",
    "w1fe-psi": "W1-FE, stochastic ψ",
    "w2fe-psi": "W2-FE, stochastic ψ",
    "w1fe-exact": "W1-FE, exact ψ",
    "w2fe-exact": "W2-FE, exact ψ",
    "ot": "Algorithm 1",
}
LAWS = {"8gaussians": "8 Gaussians", "4gaussians": "4 Gaussians", "swissroll": "Swiss roll"}
PENALTIES = {"lp": "one-sided penalty", "gp": "two-sided penalty", "clip": "clipped weights"}
WITH_CRITIC = ("w1fe", "w1fe-ab2", "wgan", "wgan-stale")
SETS = {  # sets of samples whose faults are known
    "real": "real images",
    "blurred": "blurred images",
    "mean image": "the mean image",
    "half of the classes": "half of the classes",
    "copies": "copies of training images",
}
QUANTITIES = {  # of a run or its samples
    "value": "value reached",
    "diversity": "variance of the samples",
    "effective_atoms": "atoms per sample",
    "fid": "Fréchet distance",
    "recall": "recall",
}
COMPARED = {  # with POT
    "emd_dual": "potential, as a dual of the plain cost",
    "lower_bound": "lower bound of the plain cost",
    "potential": "potential, up to a constant",
    "plan": "transport plan",
    "value": "optimal value",
    "stochastic": "value, stochastic solver",
    "semidiscrete": "value, estimated on fresh points",
}
CHANGES = {  # field of a run's settings -> how it is said that it is changed; the λ's are said by themselves
    "lam_share": "over {:.0%} of the steps",
    "carry": "ψ carried on ({:g})",
    "reuse": "{:g} batches again",
    "anchor": "control variate anew every {:g} steps",
    "anchor_batches": "over {:g} batches",
    "self_atoms": "self term of {:g}",
    "self_weight": "its weight {:g}",
    "lr_decay": "rate falls ({:.0%})",
    "weight_average": "θ averaged ({:g})",
    "potential": "ψ by {}",
    "batch_atoms": "of {:g} atoms",
}


def law(name: str) -> str:
    """Name a law of the plane."""
    return LAWS.get(name, name)


def arm(config, *, several_laws=False, several_penalties=False):
    """Name an arm of paper B; dt and the rate where they are not 1, law and penalty where arms beside it differ."""
    method = config["method"]
    parts = [law(config["law"])] if several_laws else []
    parts.append(METHODS[method])
    parts.append(f"λ = {config['lam']:g}" if method == "ot" else f"K = {config['persistence']}")
    parts += [f"dt = {config['dt']:g}"] if config["dt"] != 1 and "fe" in method else []
    parts += [f"{config['lr_factor']:g} × rate"] if config.get("lr_factor", 1) != 1 else []
    parts += [PENALTIES[config["penalty"]]] if several_penalties and method in WITH_CRITIC else []
    return ", ".join(parts)


def arms(configs):
    """Name arms that stand beside each other: what sets them apart is said, what they share is not."""
    laws = {config.get("law") for config in configs}
    penalties = {config["penalty"] for config in configs if config["method"] in WITH_CRITIC}
    told = {"several_laws": len(laws) > 1, "several_penalties": len(penalties) > 1}
    return [arm(config, **told) for config in configs]


def direction(record):
    """Name what an adaptation leads from and to."""
    return f"{record['source'].upper()} to {record['target'].upper()}"


def run(told):
    """Name a run of Algorithm 1 on images by its λ and what is changed ({field: value}), without its generator."""
    changes = dict(told["changes"])
    start = changes.pop("lam_start", None)
    parts = [f"λ = {told['lam']:g}" if start is None else f"λ = {start:g} to {told['lam']:g}"]
    return ", ".join(parts + [CHANGES.get(name, f"{name} {{}}").format(value) for name, value in changes.items()])


def atoms(count):
    """Write an effective number of atoms, which is seldom whole where it is small."""
    text = f"{count:.2g}" if count < 100 else f"{count:,.0f}"
    return f"{text} atom{'s' * (text != '1')}"


def generated(told):
    """Name a run with its generator."""
    return f"{GENERATORS[told['generator']]}, {run(told)}"
