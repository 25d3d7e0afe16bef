from tests.support.teacher import running, teacher

__all__ = ["running", "teacher"]
