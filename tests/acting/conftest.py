from learned_square import learned, store

__all__ = ["learned", "store"]
