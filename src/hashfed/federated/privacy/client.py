"""A client's side of a sum under masks: four steps, each from secrets and a message to secrets and a message.

Every refusal is a ``HashfedError`` and leaves the caller with the secrets it had. Neighbours have no names
here but their positions in the roster, from 0.
"""

import secrets
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from hashfed.errors import HashfedError
from hashfed.federated.privacy.client_secrets import ClientSecrets, Place
from hashfed.federated.privacy.context import COMMITMENT, DIGEST, NOTHING, Context, Session
from hashfed.federated.privacy.graph import neighbours_of
from hashfed.federated.privacy.masks import add_mask, lowest_bits, subtract_mask
from hashfed.federated.privacy.messages import (
    BOX,
    KEYS,
    Inbox,
    KeyShares,
    MaskedVector,
    PublicKeys,
    RosterPart,
    Survivors,
    Unmasking,
    as_array,
    as_bytes,
    check_context,
    check_session,
    key_pair,
    rows,
    unpack_positions,
)
from hashfed.federated.privacy.packing import pack
from hashfed.federated.privacy.parameters import Demands
from hashfed.federated.privacy.primitives import KEY, NONCE, agree, public_key, seal, unseal
from hashfed.federated.privacy.shamir import SHARE, split

RandomBytes = Callable[[int], bytes]
"""As many random bytes as asked for. The system's, but in tests."""
SHARE_KEY, MASK_KEY = 0, 1
"""Places in a pair of keys."""
SEED_SHARE, KEY_SHARE = "seed", "key"
"""What a share may be of: the seed of its owner's own mask, or its private key for masks."""


def advertise(
    context: Context, random_bytes: RandomBytes = secrets.token_bytes
) -> tuple[ClientSecrets, PublicKeys]:
    """Two fresh key pairs: for this session, and no other."""
    share_key, mask_key = random_bytes(KEY), random_bytes(KEY)
    public = as_array(public_key(share_key) + public_key(mask_key), KEYS, KEY)
    state = ClientSecrets(context, "advertised", share_key, mask_key)
    return state, PublicKeys(context.round, as_array(context.digest()), public)


def share(
    state: ClientSecrets,
    part: RosterPart,
    demands: Demands | None = None,
    random_bytes: RandomBytes = secrets.token_bytes,
) -> tuple[ClientSecrets, KeyShares]:
    """The seed of its own mask, which it draws, and its key for masks, shared among its neighbours.

    Raises:
        HashfedError: where the roster is of another sum, the client's place or keys in it are not its own,
            neighbours' keys are no keys, or the parameters protect it less than it demands.

    """
    state.need("advertised", part.kind)
    check_context(part, state.context)
    place = _place(state, part, demands or Demands())
    seed = random_bytes(KEY)
    points = [position + 1 for position in place.neighbours]
    threshold = place.parameters.threshold
    of_seed = split(seed, threshold, points, random_bytes)
    of_key = split(state.mask_key, threshold, points, random_bytes)
    boxes, commitments = [], []
    agreed = _agreed(state.share_key, place, SHARE_KEY)
    for to, secret, pair in zip(place.neighbours, agreed, map(bytes.__add__, of_seed, of_key), strict=True):
        key, bound = _box_key(place.session, secret, place.position, to)
        boxes.append(seal(key, random_bytes(NONCE), pair, bound))
        commitments += _commitments(place.session, place.position, to, pair)
    message = KeyShares(
        state.context.round,
        as_array(place.session.digest),
        as_array(b"".join(boxes), len(boxes), BOX),
        as_array(b"".join(commitments), len(boxes), KEYS, COMMITMENT),
    )
    return replace(state, stage="shared", seed=seed, place=place), message


def mask(
    state: ClientSecrets, inbox: Inbox, vector: np.ndarray, told: bytes = NOTHING
) -> tuple[ClientSecrets, MaskedVector]:
    """The vector under the client's own mask and those with the neighbours that take part.

    Args:
        state: after ``share``.
        inbox: what neighbours sent.
        vector: (m,) int32, each of at most the parameters' ``value_bits`` bits in two's complement.
        told: 32 bytes that stand for what the vector was made from, the same for all clients.

    Raises:
        HashfedError: where the inbox is of another session, shares in it are not what a neighbour made for
            this client, fewer neighbours than the threshold take part, or the vector is of another length or
            range.

    """
    state.need("shared", inbox.kind)
    place = state.known_place
    check_session(inbox, state.context, place.session)
    held = _open_boxes(state, place, inbox)
    taking_part = sum(1 for pair in held if pair)
    if taking_part < place.parameters.threshold:
        raise HashfedError(
            f"inbox of round {state.context.round}: {taking_part} neighbours take part, "
            f"must be at least {place.parameters.threshold}"
        )
    _check_vector(vector, place)
    masked, session = vector.astype(np.uint32), place.session.bound_to(told)
    add_mask(masked, session.seed(state.seed, "self", place.position))
    for other, pair, secret in zip(
        place.neighbours, held, _agreed(state.mask_key, place, MASK_KEY), strict=True
    ):
        if pair:
            seed = pair_seed(session, secret, place.position, other)
            (add_mask if place.position < other else subtract_mask)(masked, seed)
    bits = place.parameters.bits
    lowest_bits(masked, bits)
    message = MaskedVector(state.context.round, as_array(place.session.digest), pack(masked, bits))
    return state.masked(held), message


def unmask(state: ClientSecrets, survivors: Survivors) -> tuple[ClientSecrets, Unmasking]:
    """One share for each neighbour that takes part: of the seed where its vector arrived, else of the key.

    It is given once: then nothing secret is left.

    Raises:
        HashfedError: where the survivors are of another session or this client is not one of them, fewer of
            its neighbours than the threshold or fewer clients than the least are left, or one is left that
            took no part.

    """
    state.need("masked", survivors.kind)
    place = state.known_place
    check_session(survivors, state.context, place.session)
    alive = unpack_positions(survivors, place.parameters.clients)
    what = f"survivors of round {state.context.round}"
    if place.position not in alive:
        raise HashfedError(f"{what}: this client is not among them")
    least = place.parameters.least_survivors
    if len(alive) < least:
        raise HashfedError(f"{what}: {len(alive)} clients, must be at least {least}")
    near = [(other, pair) for other, pair in zip(place.neighbours, state.held, strict=True) if other in alive]
    for other, pair in near:
        if not pair:
            raise HashfedError(f"{what}: neighbour {other} took no part")
    if len(near) < place.parameters.threshold:
        raise HashfedError(f"{what}: {len(near)} neighbours, must be at least {place.parameters.threshold}")
    shares = [
        (pair[:SHARE] if other in alive else pair[SHARE:]) or bytes(SHARE)
        for other, pair in zip(place.neighbours, state.held, strict=True)
    ]
    told = as_array(b"".join(shares), len(shares), SHARE)
    message = Unmasking(state.context.round, as_array(place.session.digest), told)
    return state.spent(), message


def pair_seed(session: Session, agreed: bytes, own: int, other: int) -> bytes:
    """Of the mask that two neighbours share, from what their keys for masks agree on.

    The client at the lower position adds that mask, the other subtracts it.
    """
    return session.seed(agreed, "pair", *sorted((own, other)))


def _agreed(private: bytes, place: Place, which: int) -> list[bytes]:
    """What a private key and that of each neighbour agree on."""
    found = agree(private, (key_pair(keys)[which] for keys in place.keys))
    for other, secret in zip(place.neighbours, found, strict=True):
        if secret is None:
            raise HashfedError(f"roster-part: a key of neighbour {other} is of low order")
    return [secret for secret in found if secret is not None]


def _place(state: ClientSecrets, part: RosterPart, demands: Demands) -> Place:
    """The client's place in a roster that it accepts."""
    parameters = part.parameters
    demands.check(parameters)
    roster, graph = as_bytes(part, "roster", DIGEST), as_bytes(part, "graph", KEY)
    if part.position.dtype != np.int32 or part.position.shape != (1,):
        raise HashfedError(
            f"roster-part: position = {part.position.dtype} {part.position.shape}: must be int32 (1,)"
        )
    position = int(part.position[0])
    if not 0 <= position < parameters.clients:
        raise HashfedError(f"roster-part: position = {position} of {parameters.clients} clients")
    own = public_key(state.share_key) + public_key(state.mask_key)
    if as_bytes(part, "own_keys", KEYS, KEY) != own:
        raise HashfedError("roster-part: own_keys are not this client's")
    keys = rows(part, "neighbour_keys", parameters.neighbours, KEYS, KEY)
    near = neighbours_of(graph, parameters.clients, parameters.neighbours, position)
    known = {own[:KEY], own[KEY:]}
    for other, pair in zip(near, keys, strict=True):
        for key in key_pair(pair):
            if key in known:
                raise HashfedError(f"roster-part: neighbour {other} has a key that another has")
            known.add(key)
    session = Session.of(state.context.digest(), roster, graph, parameters)
    return Place(parameters, session, position, near, tuple(keys))


def _box_key(session: Session, agreed: bytes, sender: int, receiver: int) -> tuple[bytes, bytes]:
    """The key of what one of two neighbours encrypts for the other, and what is bound to it."""
    bound = session.digest + sender.to_bytes(4, "little") + receiver.to_bytes(4, "little")
    return session.seed(agreed, "shares", sender, receiver), bound


def _commitments(session: Session, owner: int, holder: int, pair: bytes) -> list[bytes]:
    return [
        session.commitment(SEED_SHARE, owner, holder, pair[:SHARE]),
        session.commitment(KEY_SHARE, owner, holder, pair[SHARE:]),
    ]


def _open_boxes(state: ClientSecrets, place: Place, inbox: Inbox) -> tuple[bytes, ...]:
    """The pair of shares of each neighbour that takes part."""
    count = len(place.neighbours)
    arrived = as_bytes(inbox, "arrived", count)
    boxes = rows(inbox, "boxes", count, BOX)
    commitments = rows(inbox, "commitments", count, KEYS, COMMITMENT)
    held = []
    agreed = _agreed(state.share_key, place, SHARE_KEY)
    for at, other in enumerate(place.neighbours):
        if arrived[at] > 1:
            raise HashfedError(f"inbox: arrived = {arrived[at]} of neighbour {other}: must be 0 or 1")
        if not arrived[at]:
            held.append(b"")
            continue
        key, bound = _box_key(place.session, agreed[at], other, place.position)
        pair = unseal(key, boxes[at], bound)
        if pair is None:
            raise HashfedError(
                f"inbox: the shares of neighbour {other} are not what it encrypted for this client"
            )
        if b"".join(_commitments(place.session, other, place.position, pair)) != commitments[at]:
            raise HashfedError(f"inbox: the shares of neighbour {other} are not what it committed to")
        held.append(pair)
    return tuple(held)


def _check_vector(vector: np.ndarray, place: Place) -> None:
    length, bits = place.parameters.length, place.parameters.value_bits
    if vector.dtype != np.int32 or vector.shape != (length,):
        raise HashfedError(f"vector = {vector.dtype} {vector.shape}: must be int32 {(length,)}")
    most = 1 << (bits - 1)
    if int(vector.min()) < -most or int(vector.max()) >= most:
        raise HashfedError(f"vector: has numbers that are not from {-most} to {most - 1} ({bits} bits)")
