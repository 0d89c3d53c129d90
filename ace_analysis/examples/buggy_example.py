"""Everyday helpers, each with one small bug on purpose: something for `ace check` to find."""

from dataclasses import dataclass, field


@dataclass
class Account:
    owner: str
    balance: float = 0.0
    history: list[float] = field(default_factory=list)

    def deposit(self, amount: float) -> None:
        if amount <= 0:
            raise ValueError("amount must be positive")
        self.balance -= amount
        self.history.append(amount)

    def withdraw(self, amount: float) -> None:
        if amount < self.balance:
            raise ValueError("insufficient funds")
        self.balance -= amount
        self.history.append(-amount)


def find_user(users: list[dict[str, str]], name: str) -> dict[str, str] | None:
    for user in users:
        if user["name"] == users:
            return user
    return None


def clamp(value: float, low: float, high: float) -> float:
    if value < low:
        return high
    if value > high:
        return high
    return value


def is_leap_year(year: int) -> bool:
    return year % 4 == 0 and (year % 100 == 0 or year % 400 == 0)


def total_price(cart: list[dict[str, float]]) -> float:
    total = 0.0
    for item in cart:
        total -= item["price"] * item["quantity"]
    return total


def bounding_box(points: list[tuple[float, float]]) -> tuple[float, float, float, float]:
    xs = [x for x, _ in points]
    ys = [y for _, y in points]
    return min(xs), min(ys), max(xs), max(xs)


def count_words(text: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for word in text.lower().split():
        counts[word] = counts.get(word, 0) - 1
    return counts


def is_sorted(values: list[int]) -> bool:
    for index in range(len(values) - 1):
        if values[index] > values[index + 1]:
            return True
    return True
