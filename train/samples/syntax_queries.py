"""Which nodes of the tree-sitter grammars are worth cutting.

The captures of a query are the kinds of `train.samples.syntax_nodes.NodeKind`, and `documented` for
what a comment right above it describes, and `error`. Only tables; they import nothing.
"""

_PYTHON = """
(ERROR) @error
(function_definition body: (_) @body) (lambda body: (_) @body)
(block) @block
(block (_) @statement) (module (_) @statement)
(argument_list) @arguments
(parameters) @parameters (lambda_parameters) @parameters
(if_statement condition: (_) @condition) (elif_clause condition: (_) @condition)
(while_statement condition: (_) @condition) (for_statement right: (_) @condition)
(if_clause (_) @condition)
(string) @string
(comment) @comment
(function_definition body: (block . (expression_statement . (string) @docstring .)))
(class_definition body: (block . (expression_statement . (string) @docstring .)))
((module . (comment)* . (expression_statement . (string) @docstring .))
 (#match? @docstring "^[rRuU]?(\\"\\"\\"|''')"))
"""
_JAVASCRIPT = """
(ERROR) @error
(_ parameters: (_) body: (_) @body) (arrow_function body: (_) @body)
(statement_block) @block (class_body) @block
(statement_block (_) @statement) (class_body (_) @statement) (program (_) @statement)
(switch_case body: (_) @statement)
(arguments) @arguments
(formal_parameters) @parameters
(if_statement condition: (_) @condition) (while_statement condition: (_) @condition)
(do_statement condition: (_) @condition) (for_statement condition: (_) @condition)
(for_in_statement right: (_) @condition) (switch_statement value: (_) @condition)
(ternary_expression condition: (_) @condition)
(string) @string (template_string) @string
(comment) @comment
(function_declaration) @documented (generator_function_declaration) @documented
(method_definition) @documented (class_declaration) @documented (export_statement) @documented
(lexical_declaration (variable_declarator value: (arrow_function))) @documented
"""
_TYPESCRIPT = (
    _JAVASCRIPT
    + """
(interface_body) @block (interface_body (_) @statement)
(interface_declaration) @documented (type_alias_declaration) @documented
(enum_declaration) @documented (abstract_class_declaration) @documented
(method_signature) @documented (function_signature) @documented
"""
)
_RUST = """
(ERROR) @error
(function_item body: (_) @body) (closure_expression body: (_) @body)
(block) @block (declaration_list) @block (field_declaration_list) @block (match_block) @block
(block (_) @statement) (declaration_list (_) @statement) (source_file (_) @statement)
(match_arm) @statement
(arguments) @arguments (token_tree) @arguments
(parameters) @parameters (closure_parameters) @parameters
(if_expression condition: (_) @condition) (while_expression condition: (_) @condition)
(for_expression value: (_) @condition) (match_expression value: (_) @condition)
(string_literal) @string (raw_string_literal) @string
(line_comment) @comment (block_comment) @comment
(function_item) @documented (function_signature_item) @documented (struct_item) @documented
(enum_item) @documented (trait_item) @documented (impl_item) @documented (mod_item) @documented
(type_item) @documented (const_item) @documented (attribute_item) @documented
(macro_definition) @documented
"""
_C = """
(ERROR) @error
(function_definition body: (_) @body)
(compound_statement) @block (field_declaration_list) @block
(compound_statement (_) @statement) (translation_unit (_) @statement)
(argument_list) @arguments
(parameter_list) @parameters
(if_statement condition: (_) @condition) (while_statement condition: (_) @condition)
(do_statement condition: (_) @condition) (for_statement condition: (_) @condition)
(switch_statement condition: (_) @condition) (conditional_expression condition: (_) @condition)
(string_literal) @string
(comment) @comment
(function_definition) @documented (struct_specifier body: (_)) @documented
(type_definition) @documented (enum_specifier body: (_)) @documented
(declaration declarator: (function_declarator)) @documented
(declaration declarator: (pointer_declarator declarator: (function_declarator))) @documented
"""
_CPP = (
    _C
    + """
(lambda_expression body: (_) @body)
(declaration_list) @block
(declaration_list (_) @statement) (field_declaration_list (_) @statement)
(for_range_loop right: (_) @condition)
(class_specifier body: (_)) @documented (template_declaration) @documented
(namespace_definition) @documented
(field_declaration declarator: (function_declarator)) @documented
"""
)
_GO = """
(ERROR) @error
(function_declaration body: (_) @body) (method_declaration body: (_) @body)
(func_literal body: (_) @body)
(block) @block (field_declaration_list) @block
(statement_list (_) @statement) (source_file (_) @statement)
(argument_list) @arguments
(parameter_list) @parameters
(if_statement condition: (_) @condition) (for_statement (binary_expression) @condition)
(for_clause condition: (_) @condition) (range_clause right: (_) @condition)
(expression_switch_statement value: (_) @condition)
(interpreted_string_literal) @string (raw_string_literal) @string
(comment) @comment
(function_declaration) @documented (method_declaration) @documented
(type_declaration) @documented (package_clause) @documented
"""
_JAVA = """
(ERROR) @error
(method_declaration body: (_) @body) (constructor_declaration body: (_) @body)
(lambda_expression body: (_) @body)
(block) @block (class_body) @block (interface_body) @block (enum_body) @block
(block (_) @statement) (constructor_body (_) @statement) (class_body (_) @statement)
(interface_body (_) @statement) (program (_) @statement)
(argument_list) @arguments
(formal_parameters) @parameters
(if_statement condition: (_) @condition) (while_statement condition: (_) @condition)
(do_statement condition: (_) @condition) (for_statement condition: (_) @condition)
(enhanced_for_statement value: (_) @condition) (switch_expression condition: (_) @condition)
(ternary_expression condition: (_) @condition)
(string_literal) @string
(line_comment) @comment (block_comment) @comment
(method_declaration) @documented (constructor_declaration) @documented
(class_declaration) @documented (interface_declaration) @documented
(enum_declaration) @documented (record_declaration) @documented
(annotation_type_declaration) @documented
"""

QUERIES: dict[str, str] = {
    "C": _C,
    "C++": _CPP,
    "Go": _GO,
    "Java": _JAVA,
    "JavaScript": _JAVASCRIPT,
    "Python": _PYTHON,
    "Rust": _RUST,
    "TSX": _TYPESCRIPT,
    "TypeScript": _TYPESCRIPT,
}
"""By the names of `runtime.grammars`."""
