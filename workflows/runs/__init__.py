"""Operations on runs, whether their workflow is on a cluster or only their results are in the store."""
