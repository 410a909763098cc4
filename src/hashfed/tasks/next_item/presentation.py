"""How the results of the next item read."""

from functools import cache

from hashfed.tasks.presentation import Measure, Presentation

MRR = Measure("mrr", "MRR", "Mean reciprocal rank", "%", "higher")
NLL = Measure("nll", "NLL", "Negative log-likelihood", "nats", "lower", "nll")
POPULAR, MARKOV = "popular", "markov"


@cache
def presentation(cutoffs: tuple[int, ...]) -> Presentation:
    """With HR@k and NDCG@k of each k."""
    pairs = [
        (
            Measure(f"hr_{k}", f"HR@{k}", f"Hit rate at {k}", "%", "higher", f"HR@{k}"),
            Measure(
                f"ndcg_{k}",
                f"NDCG@{k}",
                f"Discounted cumulative gain at {k}, normalized",
                "%",
                "higher",
                f"NDCG@{k}",
            ),
        )
        for k in cutoffs
    ]
    return Presentation(
        examples="histories",
        rows="items",
        targets="next items",
        measures=(*(one for pair in pairs for one in pair), MRR, NLL),
        main=pairs[0],
        floors=(POPULAR, MARKOV),
        rates={"unreachable_rate": "held-out items never in training"},
        note="HR@k, NDCG@k and MRR rank each held-out item among all items that its user has not had before; "
        "equal scores are ordered at random, and the mean counts. NLL is the mean negative log-likelihood of "
        "the softmax over all rows. {unreachable_rate:.2%} of the held-out items are never in training. "
        "Floors, of the {train_clients:,} training clients: the most popular items; the most frequent "
        "successors of the last item, then popular ones.",
    )
