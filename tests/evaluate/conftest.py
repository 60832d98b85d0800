import pytest

from learned_square import learned, store
from recorded_square import Parts, random_parts, record_squares

__all__ = ["learned", "store"]


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """An agent's parts and recordings of both tasks of the square suite: 16 short and 6 long episodes, and a rest."""
    return random_parts(record_squares(tmp_path_factory.mktemp("recorded"), 200))
