"""How the results of the next word read."""

from hashfed.tasks.presentation import Measure, Presentation

ACCURACY = Measure("accuracy", "Accuracy", "Accuracy", "%", "higher", "accuracy")
WITH_OOV = Measure(
    "accuracy_with_oov",
    "Accuracy, OOV wrong",
    "Accuracy, out of vocabulary wrong",
    "%",
    "higher",
    # Tables of counts never predict what is out of the vocabulary.
    of_floor=lambda floors, name: floors[f"{name}_accuracy"] * (1 - floors["oov_rate"]),
)
TOP3 = Measure("top3_accuracy", "Top-3 accuracy", "Top-3 accuracy", "%", "higher", "top-3")
NLL = Measure("nll", "NLL", "Negative log-likelihood", "nats", "lower", "nll")

PRESENTATION = Presentation(
    examples="sentences",
    rows="words",
    targets="in-vocabulary target words",
    measures=(ACCURACY, WITH_OOV, TOP3, NLL),
    main=(ACCURACY, NLL),
    floors=("unigram", "bigram"),
    rates={"oov_rate": "held-out out-of-vocabulary"},
    note="Accuracy, top-3 and NLL (mean negative log-likelihood, full softmax over all rows) are on "
    "in-vocabulary target words. “OOV wrong” also counts the out-of-vocabulary targets ({oov_rate:.2%} of "
    "all), each as a miss. Floors: tables of word and word-pair counts of the {train_clients:,} training "
    "clients.",
)
