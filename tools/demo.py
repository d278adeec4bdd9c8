"""Train a classifier on scikit-learn's digits, and see the run in TensorBoard and in MLflow.

Everything happens on this machine: no account, no server, no download. Run it as
``python3 tools/dev.py demo``, and once more for a second run to compare it with; ``--help`` tells
the options.
"""

from __future__ import annotations

import argparse
import os
import pickle
import shlex
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from tqdm import tqdm

from tracking_core import Artifact, Histogram, Image, Tracking

PROJECT = "digits"
SAMPLES = 3  # pictures: what a row of MLflow's page has room for
ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "runs" / "demo"


def main() -> None:
    options = parse_options()
    options.output.mkdir(parents=True, exist_ok=True)
    before = runs_in(options.output / "tensorboard")
    # As TensorBoard's folder is called, so that a run is found under one name in both.
    name = f"{PROJECT}-{before + 1}" if before else PROJECT
    store = f"sqlite:///{options.output.resolve() / 'mlflow.db'}"
    os.environ.setdefault("MLFLOW_TRACKING_URI", store)
    config = {
        "model": {"hidden": [64, 32], "activation": "relu"},
        "optimizer": {"name": "adam", "lr": options.lr},
        "batch_size": options.batch_size,
        "epochs": options.epochs,
        "seed": before if options.seed is None else options.seed,
    }
    with Tracking(
        ["tensorboard", "mlflow"], logging_dir=options.output / "tensorboard"
    ) as tracking:
        tracking.init_trackers(
            PROJECT,
            config=config,
            init_kwargs={
                "mlflow": {
                    "run_name": name,
                    "logging_dir": (options.output / "artifacts").resolve().as_uri(),
                }
            },
        )
        tracking.set_tags({"data": "scikit-learn digits", "demo": None})
        accuracy = train(tracking, config, options.output)
    print(f"\nTest accuracy {accuracy:.3f}. {describe(tracking.status())}\n")
    print(f"Look at {name}:")
    print(f"  {command('tensorboard', '--logdir', shown(options.output / 'tensorboard'))}")
    print("    then open http://localhost:6006")
    used = os.environ["MLFLOW_TRACKING_URI"]
    if used == store:
        used = f"sqlite:///{shown(options.output / 'mlflow.db')}"
    print(f"  {command('mlflow', 'ui', '--backend-store-uri', used)}")
    print(f"    then open http://localhost:5000/{page(tracking)}")


def train(tracking: Tracking, config: dict[str, Any], output: Path) -> float:
    """Train, log every step, and return the accuracy on the test data."""
    digits = load_digits()
    x_train, x_test, y_train, y_test = train_test_split(
        digits.data / 16.0, digits.target, test_size=0.2, random_state=config["seed"]
    )
    model = MLPClassifier(
        hidden_layer_sizes=tuple(config["model"]["hidden"]),
        activation=config["model"]["activation"],
        learning_rate_init=config["optimizer"]["lr"],
        random_state=config["seed"],
    )
    random = np.random.default_rng(config["seed"])
    size = config["batch_size"]
    steps = range(0, len(x_train) - size + 1, size)
    step = 0
    with tqdm(total=config["epochs"] * len(steps), unit="step", desc="training") as bar:
        for _ in range(config["epochs"]):
            order = random.permutation(len(x_train))
            for start in steps:
                batch = order[start : start + size]
                model.partial_fit(x_train[batch], y_train[batch], classes=digits.target_names)
                accuracy = model.score(x_train[batch], y_train[batch])
                tracking.log({"train": {"loss": model.loss_, "accuracy": accuracy}}, step=step)
                if step == 0:
                    log_state(tracking, model, x_test, y_test, step)
                step += 1
                bar.update()
            accuracy = log_state(tracking, model, x_test, y_test, step)
            weights = {f"layer {i}": Histogram(layer) for i, layer in enumerate(model.coefs_)}
            tracking.log({"weights": weights}, step=step)
            bar.set_postfix(loss=f"{model.loss_:.3f}", test=f"{accuracy:.3f}")
    log_results(tracking, model, x_test, y_test, step)
    path = output / "model.pkl"
    path.write_bytes(pickle.dumps(model))
    tracking.log({"model": Artifact(path)}, step=step)
    return float(accuracy)


def log_state(tracking: Tracking, model: Any, x_test: Any, y_test: Any, step: int) -> float:
    """Log how good the model is on the test data, and a few of its answers.

    At the first step, too: it is the one that MLflow's panels of pictures open at.
    """
    accuracy = float(model.score(x_test, y_test))
    samples = [
        Image(enlarged(digit), caption=f"{label} taken for {predicted}")
        for digit, label, predicted in zip(
            x_test[:SAMPLES], y_test[:SAMPLES], model.predict(x_test[:SAMPLES]), strict=True
        )
    ]
    tracking.log({"test/accuracy": accuracy, "samples": samples}, step=step)
    return accuracy


def log_results(tracking: Tracking, model: Any, x_test: Any, y_test: Any, step: int) -> None:
    """Log what a person would look at when the training is over."""
    predicted = model.predict(x_test)
    figure = Figure(figsize=(6, 5), layout="constrained")
    ConfusionMatrixDisplay.from_predictions(y_test, predicted, ax=figure.subplots(), cmap="Blues")
    wrong = np.flatnonzero(predicted != y_test)
    likelihood = model.predict_proba(x_test).max(axis=1)
    rows = [[int(i), int(y_test[i]), int(predicted[i]), float(likelihood[i])] for i in wrong]
    tracking.log({"confusion": figure}, step=step)
    tracking.log_table(
        "misclassified", columns=["index", "label", "predicted", "likelihood"], data=rows, step=step
    )


def runs_in(folder: Path) -> int:
    """How many runs TensorBoard has there."""
    return len([path for path in folder.glob(f"{PROJECT}*") if path.is_dir()])


def enlarged(pixels: Any) -> Any:
    """One digit of 8x8 pixels, large enough to be seen."""
    return np.kron(pixels.reshape(8, 8), np.ones((32, 32)))


def describe(status: dict[str, Any]) -> str:
    parts = []
    for name, one in status.items():
        troubles = f", {one.failed} failed" if one.failed else ""
        left = f", {one.pending} are still to come" if one.pending else ""
        parts.append(f"{name} has {one.delivered} records{troubles}{left}")
    return "; ".join(parts) + "."


def command(*arguments: object) -> str:
    """What to type, from the root of the clone and in any shell."""
    return shlex.join(["python3", "tools/dev.py", *map(str, arguments)])


def page(tracking: Tracking) -> str:
    """Where MLflow shows the charts of the run: by itself it opens on pages for language models."""
    run = tracking.get_tracker("mlflow").identity()
    if not run:
        return ""  # it did not start, and a warning has said why
    return (
        f"#/experiments/{run['experiment_id']}/runs/{run['run_id']}/model-metrics"
        "?workflowType=machine_learning"
    )


def shown(path: Path) -> Path:
    """`path` as short as it can be typed from the root of the clone."""
    path = path.resolve()
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument(
        "--seed", type=int, help="how many runs are there already, so that no two are the same"
    )
    parser.add_argument("--output", type=Path, default=RUNS, help="where runs are kept")
    return parser.parse_args()


if __name__ == "__main__":
    main()
