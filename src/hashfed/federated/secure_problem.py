"""Which other settings go with sums that are all that the server learns (``selection.delivery: secure``)."""

from hashfed.federated.settings import CompressionSettings, SecureSettings, ServerSettings
from hashfed.retrieval.settings import SelectionSettings


def secure_problem(
    secure: SecureSettings,
    selection: SelectionSettings,
    server: ServerSettings,
    compression: CompressionSettings,
) -> str | None:
    """Why these do not go together, as ``field = value: what is allowed``; None where they do."""
    if selection.delivery != "secure":
        usual = SecureSettings()
        for name in SecureSettings.model_fields:
            if (value := getattr(secure, name)) != getattr(usual, name):
                return f"secure.{name} = {value}: has no effect without selection.delivery secure"
        return None
    if server.row_average != "cohort":
        return (
            f"server.row_average = {server.row_average}: must be cohort with selection.delivery secure, for "
            "nobody learns who held a row"
        )
    if compression.updates != "none":
        return (
            f"compression.updates = {compression.updates}: must be none with selection.delivery secure, "
            "where secure.bits says how many bits a number has"
        )
    if selection.points != "keys":
        return (
            f"selection.points = {selection.points}: must be keys with selection.delivery secure, where the "
            "cohort's sums tell points"
        )
    if selection.oversample > 1:
        return (
            f"selection.oversample = {selection.oversample:g}: must be 1 with selection.delivery secure, for "
            "what a client drops would be missing from the sum"
        )
    return None
