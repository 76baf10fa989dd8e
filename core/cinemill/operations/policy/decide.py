"""What becomes of one instance, as far as its header and its codestreams say: copied, or coded anew for one of some targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from cinemill.operations.policy.facts import Facts
from cinemill.operations.policy.readers import readable
from cinemill.operations.policy.targets import Wanted, recompression

if TYPE_CHECKING:
    from cinemill.dicom.source import Source
    from cinemill.operations.policy.rules import Policy
    from cinemill.operations.policy.words import Options
    from cinemill.operations.receipt import Reason


class Decision(NamedTuple):
    """What becomes of an instance.

    Attributes
    ----------
    reason
        Why the source is copied; None where it is coded anew, unless a trial or the writing shows that it would grow.
    wanted
        The targets, where it is coded anew.
    options
        Those that hold for it.
    policy, policy_digest, rule
        As the receipt has them.
    """

    reason: Reason | None
    wanted: Wanted
    options: Options
    policy: str = ""
    policy_digest: str = ""
    rule: str = ""

    @property
    def told(self) -> dict[str, Any]:
        """What the receipt says of the policy."""
        return {"policy": self.policy, "policy_digest": self.policy_digest, "rule": self.rule}

    @property
    def guarded(self) -> bool:
        """Whether an output larger than its source is not written."""
        return self.options.if_larger == "keep"


def decide(source: Source, policy: Policy, options: Options) -> Decision:
    """Say what becomes of an instance; nothing of it is decoded.

    Parameters
    ----------
    source
        The open file.
    policy
        The first of its rules that matches decides.
    options
        Where the rule does not say otherwise.
    """
    facts = Facts(source)
    rule = next((rule for rule in policy.rules if rule.when is None or rule.when.matches(facts)), None)
    told = (policy.name, policy.digest, rule.name if rule else "")
    nothing = Wanted(())
    if rule is None:
        return Decision("no-image" if facts.no_image else "policy", nothing, options, *told)
    options = rule.applied(options)
    if facts.no_image:
        return Decision("no-image" if options.if_larger == "keep" else None, nothing, options, *told)
    if rule.wanted is None:
        return Decision("policy", nothing, options, *told)
    wanted = rule.wanted.within(readable(options.readable_by))
    reason, wanted = _of_lossy(facts, wanted, options) if facts.lossy else (None, _lossless(wanted))
    return Decision(reason, wanted, options, *told)


def _of_lossy(facts: Facts, wanted: Wanted, options: Options) -> tuple[Reason | None, Wanted]:
    """Return what becomes of a source that is lossy: why it is copied, or its targets."""
    if options.lossy_source == "transcode":
        return None, wanted if facts.recompressible else _lossless(wanted)
    if options.lossy_source == "jpeg-xl":
        small = recompression(options.readable_by)
    else:
        small = tuple(row for row in wanted.targets if row.of_jpeg and not wanted.every)
    if small and facts.recompressible:
        return None, Wanted(small)
    return "lossy-source", wanted


def _lossless(wanted: Wanted) -> Wanted:
    """Leave out the target that holds JPEG only, unless nothing else is wanted."""
    others = tuple(row for row in wanted.targets if not row.of_jpeg)
    return wanted._replace(targets=others) if others else wanted
