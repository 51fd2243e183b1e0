"""What is refused before Prefect starts: never more than the flow would refuse."""

import pytest

from patchcore.adapters.ledger import Ledger
from patchcore.cli.preflight import require_way_back
from patchcore.config.workspace import Workspace
from patchcore.errors import Refused
from patchcore.lifecycle.services import Services, open_services
from tests.support.ledgers import CATEGORY, add_bank, add_dataset, decide, normal


@pytest.fixture
def services(empty_workspace: Workspace) -> Services:
    services = open_services(empty_workspace.root)
    add_dataset(services.ledger, [normal("one.png")])
    for version in (1, 2, 3):
        add_bank(services.ledger, version)
    return services


def refused(services: Services, to: int | None = None) -> bool:
    before = services.ledger.history(CATEGORY)
    try:
        require_way_back(services, CATEGORY, "it missed a crack", to)
    except Refused:
        return True
    finally:
        assert services.ledger.history(CATEGORY) == before
    return False


def test_a_rollback_is_refused_early_where_it_leads_nowhere(services: Services) -> None:
    ledger: Ledger = services.ledger
    assert refused(services)
    decide(ledger, 1)
    decide(ledger, 2, "refuse")
    assert refused(services)
    assert refused(services, to=2)
    decide(ledger, 2)
    decide(ledger, 3)
    assert not refused(services)
    assert not refused(services, to=1)
    assert refused(services, to=4)
    decide(ledger, 2, "rollback")
    assert not refused(services)
    decide(ledger, 1, "rollback")
    assert refused(services)
    assert refused(services, to=2)  # that one was gone back from
    decide(ledger, 3)
    assert not refused(services)
    decide(ledger, 1, "rollback", reason="it missed a crack")
    assert not refused(services)  # the same rollback again: the flow says that it is done
