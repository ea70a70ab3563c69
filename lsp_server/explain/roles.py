"""What the nodes of eight grammars do, whatever the grammar calls them. Tables only."""

from enum import StrEnum


class Role(StrEnum):
    """What a node does."""

    FUNCTION = "function"
    CLOSURE = "closure"
    CLASS = "class"
    IF = "if"
    ELIF = "else if"
    """A clause of an `if`; `syntax` makes it for grammars that have none."""
    FOR = "for"
    WHILE = "while"
    DO = "do"
    SWITCH = "switch"
    CASE = "case"
    TRY = "try"
    CATCH = "catch"
    FINALLY = "finally"
    WITH = "with"
    RETURN = "return"
    RAISE = "raise"
    YIELD = "yield"
    AWAIT = "await"
    BREAK = "break"
    CONTINUE = "continue"
    GOTO = "goto"
    FALL_THROUGH = "fall through"
    ASSIGN = "assign"
    DECLARE = "declare"
    """A declaration of variables, with or without values."""
    DEFER = "defer"
    SPAWN = "spawn"
    ASSERT = "assert"
    DELETE = "delete"
    COMPREHENSION = "comprehension"
    CONDITIONAL = "conditional"
    BLOCK = "block"
    """Statements, or something around one."""


LOOPS = (Role.FOR, Role.WHILE, Role.DO)

_BRACED: dict[str, Role] = {
    "if_statement": Role.IF,
    "elif_clause": Role.ELIF,
    "for_statement": Role.FOR,
    "while_statement": Role.WHILE,
    "do_statement": Role.DO,
    "switch_statement": Role.SWITCH,
    "try_statement": Role.TRY,
    "catch_clause": Role.CATCH,
    "finally_clause": Role.FINALLY,
    "return_statement": Role.RETURN,
    "throw_statement": Role.RAISE,
    "break_statement": Role.BREAK,
    "continue_statement": Role.CONTINUE,
    "assignment_expression": Role.ASSIGN,
    "update_expression": Role.ASSIGN,
    "expression_statement": Role.BLOCK,
    "labeled_statement": Role.BLOCK,
    "else_clause": Role.BLOCK,
}
PYTHON_ROLES: dict[str, Role] = {
    "function_definition": Role.FUNCTION,
    "lambda": Role.CLOSURE,
    "class_definition": Role.CLASS,
    "if_statement": Role.IF,
    "elif_clause": Role.ELIF,
    "for_statement": Role.FOR,
    "while_statement": Role.WHILE,
    "match_statement": Role.SWITCH,
    "case_clause": Role.CASE,
    "try_statement": Role.TRY,
    "except_clause": Role.CATCH,
    "except_group_clause": Role.CATCH,
    "finally_clause": Role.FINALLY,
    "with_statement": Role.WITH,
    "return_statement": Role.RETURN,
    "raise_statement": Role.RAISE,
    "yield": Role.YIELD,
    "await": Role.AWAIT,
    "break_statement": Role.BREAK,
    "continue_statement": Role.CONTINUE,
    "assignment": Role.ASSIGN,
    "augmented_assignment": Role.ASSIGN,
    "named_expression": Role.ASSIGN,
    "assert_statement": Role.ASSERT,
    "delete_statement": Role.DELETE,
    "list_comprehension": Role.COMPREHENSION,
    "set_comprehension": Role.COMPREHENSION,
    "dictionary_comprehension": Role.COMPREHENSION,
    "generator_expression": Role.COMPREHENSION,
    "conditional_expression": Role.CONDITIONAL,
    "expression_statement": Role.BLOCK,
    "block": Role.BLOCK,
    "else_clause": Role.BLOCK,
}
SCRIPT_ROLES: dict[str, Role] = {
    **_BRACED,
    "function_declaration": Role.FUNCTION,
    "generator_function_declaration": Role.FUNCTION,
    "method_definition": Role.FUNCTION,
    "function_expression": Role.CLOSURE,
    "generator_function": Role.CLOSURE,
    "arrow_function": Role.CLOSURE,
    "class": Role.CLASS,
    "class_declaration": Role.CLASS,
    "abstract_class_declaration": Role.CLASS,
    "interface_declaration": Role.CLASS,
    "enum_declaration": Role.CLASS,
    "for_in_statement": Role.FOR,
    "switch_case": Role.CASE,
    "switch_default": Role.CASE,
    "yield_expression": Role.YIELD,
    "await_expression": Role.AWAIT,
    "augmented_assignment_expression": Role.ASSIGN,
    "lexical_declaration": Role.DECLARE,
    "variable_declaration": Role.DECLARE,
    "ternary_expression": Role.CONDITIONAL,
    "statement_block": Role.BLOCK,
    "export_statement": Role.BLOCK,
}
GO_ROLES: dict[str, Role] = {
    **_BRACED,
    "function_declaration": Role.FUNCTION,
    "method_declaration": Role.FUNCTION,
    "func_literal": Role.CLOSURE,
    "type_spec": Role.CLASS,
    "expression_switch_statement": Role.SWITCH,
    "type_switch_statement": Role.SWITCH,
    "select_statement": Role.SWITCH,
    "fallthrough_statement": Role.FALL_THROUGH,
    "goto_statement": Role.GOTO,
    "expression_case": Role.CASE,
    "type_case": Role.CASE,
    "communication_case": Role.CASE,
    "default_case": Role.CASE,
    "assignment_statement": Role.ASSIGN,
    "inc_statement": Role.ASSIGN,
    "dec_statement": Role.ASSIGN,
    "send_statement": Role.ASSIGN,
    "short_var_declaration": Role.DECLARE,
    "var_declaration": Role.DECLARE,
    "const_declaration": Role.DECLARE,
    "defer_statement": Role.DEFER,
    "go_statement": Role.SPAWN,
    "block": Role.BLOCK,
    "statement_list": Role.BLOCK,
    "labeled_statement": Role.BLOCK,
}
RUST_ROLES: dict[str, Role] = {
    "function_item": Role.FUNCTION,
    "closure_expression": Role.CLOSURE,
    "struct_item": Role.CLASS,
    "enum_item": Role.CLASS,
    "trait_item": Role.CLASS,
    "impl_item": Role.CLASS,
    "if_expression": Role.IF,
    "elif_clause": Role.ELIF,
    "for_expression": Role.FOR,
    "while_expression": Role.WHILE,
    "loop_expression": Role.WHILE,
    "match_expression": Role.SWITCH,
    "match_arm": Role.CASE,
    "return_expression": Role.RETURN,
    "yield_expression": Role.YIELD,
    "await_expression": Role.AWAIT,
    "break_expression": Role.BREAK,
    "continue_expression": Role.CONTINUE,
    "assignment_expression": Role.ASSIGN,
    "compound_assignment_expr": Role.ASSIGN,
    "let_declaration": Role.DECLARE,
    "expression_statement": Role.BLOCK,
    "block": Role.BLOCK,
    "unsafe_block": Role.BLOCK,
    "else_clause": Role.BLOCK,
}
C_ROLES: dict[str, Role] = {
    **_BRACED,
    "function_definition": Role.FUNCTION,
    "struct_specifier": Role.CLASS,
    "enum_specifier": Role.CLASS,
    "union_specifier": Role.CLASS,
    "case_statement": Role.CASE,
    "goto_statement": Role.GOTO,
    "declaration": Role.DECLARE,
    "conditional_expression": Role.CONDITIONAL,
    "compound_statement": Role.BLOCK,
}
CPP_ROLES: dict[str, Role] = {
    **C_ROLES,
    "class_specifier": Role.CLASS,
    "lambda_expression": Role.CLOSURE,
    "for_range_loop": Role.FOR,
    "co_return_statement": Role.RETURN,
    "co_yield_statement": Role.YIELD,
    "co_await_expression": Role.AWAIT,
    "delete_expression": Role.DELETE,
}
JAVA_ROLES: dict[str, Role] = {
    **_BRACED,
    "method_declaration": Role.FUNCTION,
    "constructor_declaration": Role.FUNCTION,
    "compact_constructor_declaration": Role.FUNCTION,
    "lambda_expression": Role.CLOSURE,
    "class_declaration": Role.CLASS,
    "interface_declaration": Role.CLASS,
    "enum_declaration": Role.CLASS,
    "record_declaration": Role.CLASS,
    "enhanced_for_statement": Role.FOR,
    "switch_expression": Role.SWITCH,
    "switch_block_statement_group": Role.CASE,
    "switch_rule": Role.CASE,
    "try_with_resources_statement": Role.TRY,
    "local_variable_declaration": Role.DECLARE,
    "assert_statement": Role.ASSERT,
    "synchronized_statement": Role.WITH,
    "ternary_expression": Role.CONDITIONAL,
    "block": Role.BLOCK,
    "constructor_body": Role.BLOCK,
}
