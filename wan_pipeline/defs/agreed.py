"""Settings as the terms that the engine works by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wan_pipeline import __version__
from wan_pipeline.generation.terms import Terms

if TYPE_CHECKING:
    from wan_pipeline.settings import Settings

__all__ = ["terms_of"]


def terms_of(settings: Settings, *, base_url: str, prompt_set: str) -> Terms:
    """What a batch works by, without what one run asks for."""
    account = settings.account()
    return Terms(
        profile=account.name.value,
        dialect=account.dialect,
        base_url=base_url,
        form=settings.request_form,
        first_form=account.first_form,
        limits=account.limits,
        price_usd=account.price_usd,
        result_lifetime_s=account.result_lifetime_s,
        task_patience_s=account.task_patience_s,
        proof_patience_s=account.proof_patience_s,
        code_version=__version__,
        prompt_set=prompt_set,
        caps=settings.caps,
        unknown_in_a_row=settings.unknown_in_a_row,
        refused_in_a_row=settings.refused_in_a_row,
        unsent_in_a_row=settings.unsent_in_a_row,
        throttle_patience_s=settings.throttle_patience_s,
        finished_watched=settings.failures_watched,
        failed_share=settings.failures_allowed,
        paid_for_nothing=settings.paid_for_nothing,
        breaker_pause_s=account.breaker_pause_s,
        breaker_pauses=settings.breaker_pauses,
        confirm_s=account.confirm_s,
    )
