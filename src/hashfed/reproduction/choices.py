"""What the paper leaves open, and what is done here."""

from hashfed.reproduction.options import DECAY_START, Options
from hashfed.reproduction.results import Choice


def open_choices(options: Options) -> tuple[Choice, ...]:
    """The list for a report."""
    scale = options.scale
    return (
        Choice(
            "Number of attention heads and blocks.", "8 heads and 3 blocks, which give its table of sizes."
        ),
        Choice(
            "Cohort and rounds ('the same setting as [31]').",
            f"{scale.cohort} clients a round, {scale.rounds} rounds; the Field Guide has 50 and 1,500.",
        ),
        Choice("Local epochs and batch size.", "One epoch, batches of 16 sentences."),
        Choice(
            "Schedule of the server's rate.",
            f"Constant for {DECAY_START:.0%} of the rounds, then linearly to zero, for every method alike.",
        ),
        Choice("β₁, β₂ and bias correction of FedAdam.", "0.9, 0.99, with bias correction."),
        Choice(
            "Whether settings are tuned for each method, on which clients and at which budget.",
            f"For each method and vocabulary, {scale.trials} trials of {scale.trial_rounds} rounds, seed 0, "
            f"on validation clients at {scale.trial_budget:.0%} of the rows; the best in accuracy is taken "
            "for all budgets and seeds. Beyond the grid the search goes one step at a time from the best.",
        ),
        Choice(
            "K and L of the hash ('from {2, 4, 6, 8}').",
            "Searched from K = L = 8, within the number of trials that all methods have.",
        ),
        Choice(
            "Whether a client's own labels are always among its rows.",
            "Yes, for every method: without them there is no loss to train on.",
        ),
        Choice(
            "What exact MIPS retrieves for a client with many queries.",
            "The rows with the most softmax mass over all its queries.",
        ),
        Choice("The softmax of the paper's methods.", "Over the rows held, uncorrected."),
        Choice(
            "Which client the device budget of table 2 is for.",
            "The training client with most to predict in a round. Sizes within the memory are the largest "
            f"predicted to fit{' whose measured peak does' if scale.measured_sizes else ''}.",
        ),
        Choice(
            "The 'unified' accuracy over vocabularies.",
            "Targets are the words of the largest vocabulary; those that a model has no row for are wrong.",
        ),
    )
