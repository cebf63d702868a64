# What the generators' samples look like: beside the scores, beside training images, on the way between latents.
FIRST = {
    name: config for name, config in JUDGED.items() if config["seed"] == SETTINGS.seed
}  # of each setting, one seed
TOLD = {  # what figures say of a run: of a variant what is changed
    name: {key: config[key] for key in ("generator", "lam")}
    | {"setting": OTConfig(**config).setting(), "changes": OTConfig(**config).changes()}
    for name, config in JUDGED.items()
}
FIRST_PICTURES = expand(rules.evaluate_run.output.pictures, run=FIRST)
ALL_PICTURES = expand(rules.evaluate_run.output.pictures, run=JUDGED)
