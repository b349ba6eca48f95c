# SPDX-License-Identifier: Apache-2.0
"""Saves a tiny random model of FAMILY to FOLDER with transformers, and the log-probabilities of a
text to FOLDER/expected.txt: one line a token. Exits 77 where the packages are not installed.
"""

import sys

try:
    import torch
    import transformers
except ImportError as error:
    print(error)
    sys.exit(77)

family, folder = sys.argv[1:]
shape = dict(
    vocab_size=61,
    hidden_size=48,
    intermediate_size=80,
    num_hidden_layers=3,
    num_attention_heads=6,
    num_key_value_heads=2,
    max_position_embeddings=256,
    initializer_range=0.2,
)
configs = {
    "qwen3": lambda: transformers.Qwen3Config(head_dim=12, tie_word_embeddings=True, **shape),
    "qwen2": lambda: transformers.Qwen2Config(tie_word_embeddings=False, **shape),
    "llama": lambda: transformers.LlamaConfig(
        tie_word_embeddings=False,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 10000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        },
        **shape,
    ),
}
torch.manual_seed(1)
model = transformers.AutoModelForCausalLM.from_config(configs[family]())
with torch.no_grad():
    for parameter in model.parameters():  # norms and biases are not left at one and zero
        parameter.add_(0.1 * torch.randn_like(parameter))
model.save_pretrained(folder)
tokens = torch.tensor([[(7 * i * i + 3 * i) % 61 for i in range(60)]])
with torch.no_grad():
    log_probs = torch.log_softmax(model(tokens).logits[0].double(), -1)
with open(f"{folder}/expected.txt", "w") as file:
    for i in range(1, tokens.shape[1]):
        file.write(f"{tokens[0, i].item()} {log_probs[i - 1, tokens[0, i]].item():.9f}\n")
print(transformers.__version__)
