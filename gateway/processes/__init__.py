"""The processes that `stepdown serve` starts: supervisor, gateway workers, learner."""
