"""A person's word on a promotion, asked for and given in Airflow's required actions, recorded as the ledger's stage `approve`."""

from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator

from flightdeck import ledger


class AskForApproval(HITLOperator):
    """Where the gate has promoted, a person confirms it or does not; the answer is the ledger's stage `approve`."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(subject="Deploy what the gate has promoted?", options=["approve", "reject"], **arguments)

    def execute(self, context: Any) -> Any:
        verdict = ledger.last("gate", context["dag_run"].partition_key)
        if verdict is None or not verdict["facts"].get("approval"):
            return None
        self.subject = f"Deploy version {verdict['inputs']['challenger']} from {verdict['partition_key']} on?"
        self.body = "\n".join(f"- {reason}" for reason in verdict["facts"]["reasons"])
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        answered = super().execute_complete(context, event)
        key = context["dag_run"].partition_key
        verdict = ledger.last("gate", key)
        facts = {"gate": verdict and verdict["attempt"], "approved": answered["chosen_options"] == ["approve"]}
        facts["by"] = (answered["responded_by_user"] or {}).get("name", "nobody, in time")
        ledger.record("approve", key, lambda _: facts, after="gate")
        return None
