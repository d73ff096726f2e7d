"""Docstrings for models that transformers documents with a decorator, which releases before 4.52 do not have."""

import ast

# Shapes as transformers' own documentation gives them (transformers/utils/auto_docstring.py).
ARGUMENTS = {
    "input_ids": "(batch, tokens), indices of tokens in the vocabulary",
    "attention_mask": "(batch, tokens), 1 for tokens and 0 for padding",
    "token_type_ids": "(batch, tokens), which of two texts a token belongs to",
    "position_ids": "(batch, tokens), each token's place in its text; counted from 0 where they are not given",
    "past_key_values": "keys and values of earlier tokens, as a forward with use_cache=True returned them",
    "inputs_embeds": "(batch, tokens, hidden_size), in place of input_ids",
    "decoder_input_ids": "(batch, target tokens), indices of tokens that the decoder reads",
    "decoder_attention_mask": "(batch, target tokens), 1 for tokens and 0 for padding",
    "decoder_inputs_embeds": "(batch, target tokens, hidden_size), in place of decoder_input_ids",
    "encoder_outputs": "what the encoder gave, where it has run before",
    "encoder_hidden_states": "(batch, source tokens, hidden_size), what cross-attention reads",
    "encoder_attention_mask": "(batch, source tokens), 1 for tokens and 0 for padding",
    "pixel_values": "(batch, channels, height, width), preprocessed images",
    "use_cache": "whether keys and values are returned, for the tokens to come",
    "output_attentions": "whether the attention probabilities of every layer are returned",
    "output_hidden_states": "whether the hidden states of every layer are returned",
    "return_dict": "False for a plain tuple",
    "cache_position": "(tokens,), places in the cache",
    "logits_to_keep": "how many places at the end get logits, 0 for all; or their indices",
    "start_positions": "(batch,), the token where each answer starts",
    "end_positions": "(batch,), the token where each answer ends",
}
LABELS = {
    "ForSequenceClassification": "(batch,) class indices, or (batch, num_labels) values",
    "ForImageClassification": "(batch,) class indices, or (batch, num_labels) values",
    "ForMultipleChoice": "(batch,), the right choice",
}
EACH_TOKEN = "(batch, tokens), -100 where a token does not count"
MODELS = {  # by how a class's name ends, longest first
    "ForSequenceClassification": "The model with a head that gives each text its class.",
    "ForImageClassification": "The model with a head that gives each image its class.",
    "ForTokenClassification": "The model with a head that gives each token its class.",
    "ForQuestionAnswering": "The model with a head that scores where in the text an answer starts and ends.",
    "ForConditionalGeneration": "Encoder and decoder with a head that scores each next token of the target.",
    "ForMultipleChoice": "The model with a head that scores each choice.",
    "ForPreTraining": "The model with the heads of its pre-training.",
    "PreTrainedModel": "What the models share: how weights start, and what they support.",
    "ForCausalLM": "The model with a head that scores each next token.",
    "ForMaskedLM": "The model with a head that scores words for the places of masked tokens.",
    "Model": "The model without a head; gives hidden states.",
}


def documented(text: str) -> str:
    """Modeling code with a docstring wherever @auto_docstring alone would have written one."""
    more: list[tuple[int, list[str]]] = []
    for node in ast.parse(text).body:
        if not isinstance(node, ast.ClassDef):
            continue
        if lacks(node) and (said := next((MODELS[end] for end in MODELS if node.name.endswith(end)), None)):
            more.append((before(text, node), [f'    """{said}"""', ""]))
        for method in node.body:
            if isinstance(method, ast.FunctionDef) and method.name == "forward" and lacks(method):
                more.append((before(text, method), described(method, node.name)))
    lines = text.split("\n")
    for number, added in sorted(more, reverse=True):
        lines[number:number] = added
    return "\n".join(lines)


def described(node: ast.FunctionDef, owner: str) -> list[str]:
    """Lines of the docstring of a forward."""
    labels = next((LABELS[end] for end in LABELS if owner.endswith(end)), EACH_TOKEN)
    known = ARGUMENTS | {"labels": f"{labels}; gives a loss"}
    parameters = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)][1:]
    lines = [f"            {name}: {known[name]}." for name in parameters if name in known]
    opening = f'        """Returns {ast.unparse(node.returns)}.' if node.returns else '        """Run the model.'
    if not lines:
        return [f'{opening}"""']
    return [opening, "", "        Args:", *lines, '        """']


def lacks(node: ast.ClassDef | ast.FunctionDef) -> bool:
    """Whether @auto_docstring alone would write its docstring."""
    names = {ast.unparse(d.func if isinstance(d, ast.Call) else d).split(".")[-1] for d in node.decorator_list}
    on_a_line_of_its_own = _first(node) > node.lineno and node.body[0].col_offset == node.col_offset + 4
    return "auto_docstring" in names and not ast.get_docstring(node) and on_a_line_of_its_own


def before(text: str, node: ast.ClassDef | ast.FunctionDef) -> int:
    """The number of the line that ends a signature: before comments above the first statement."""
    lines = text.split("\n")
    number = _first(node) - 1
    while not lines[number - 1].strip() or lines[number - 1].startswith(f"{' ' * (node.col_offset + 4)}#"):
        number -= 1
    return number


def _first(node: ast.ClassDef | ast.FunctionDef) -> int:
    """The line of the first statement, with its decorators."""
    first = node.body[0]
    return min([first.lineno, *(d.lineno for d in getattr(first, "decorator_list", []))])
