"""
Generate sequences, and judge them
==================================

:class:`~sks4.S4Generator` learns the distribution of sequences. It draws new ones and returns the exact
likelihood of any sequence, which finds those that do not belong.
"""

import matplotlib.pyplot as plt
import numpy as np

from sks4 import S4Generator

rng = np.random.default_rng(0)
WORDS = {
    "who": ["the cat", "the dog", "a bird", "my friend"],
    "does": ["sees", "likes", "hears", "follows"],
    "whom": ["the moon", "a song", "the rain", "an old man"],
}


def sentence():
    """Return a random sentence."""
    return " ".join(rng.choice(words) for words in WORDS.values()) + "."


text = [sentence() for _ in range(200)]
generator = S4Generator(
    d_model=32, n_layers=2, d_state=16, max_epochs=25, lr=0.02, random_state=0
)
generator.fit(text)

# %%
# New sentences. A step costs the same whatever came before it.

for symbols in generator.sample(4, length=40, random_state=1):
    print("".join(symbols).split(".")[0])

# %%
# The likelihood of sentences that were not in training, and of the same words in another order, in bits
# for each character:


def bits(sentences):
    """Return bits per character of each sentence."""
    lengths = np.array([len(s) for s in sentences])
    return -generator.score_samples(sentences) / np.log(2) / lengths


new = [sentence() for _ in range(100)]
mixed = [" ".join(rng.permutation(s[:-1].split())) + "." for s in new]
print(
    f"new: {bits(new).mean():.2f} bits, words in another order: {bits(mixed).mean():.2f} bits"
)

figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
bins = np.linspace(0, bits(mixed).max(), 40)
ax.hist(bits(new), bins, alpha=0.8, color="#0072B2", label="new sentences")
ax.hist(bits(mixed), bins, alpha=0.8, color="#E69F00", label="words in another order")
ax.set(xlabel="bits per character", ylabel="sentences")
ax.legend()
plt.show()
