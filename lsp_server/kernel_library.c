/* A Python extension of kernels that numba has compiled, for processes that import no numba.

   `kernel_build.py` compiles this file in numba's own folder of sources, whose helpers the machine
   code calls, beside `kernels.inc`, which it writes: one table of `overload_t`, sorted by name, and
   one of `callback_t`. A kernel takes the very arguments that numba compiled it for; all others go
   to `otherwise`, which is the kernel as numba makes it.
*/

#define PY_SSIZE_T_CLEAN
#include "_numba_common.h"
#include "_pymodule.h"

#define NUMBA_EXPORT_FUNC(type) VISIBILITY_HIDDEN type
#define NUMBA_EXPORT_DATA(type) VISIBILITY_HIDDEN type
/* What a kernel raises is then unpickled without numba. */
#define PYCC_COMPILING

#include "_helperlib.c"
#include "_dynfunc.c"
#include "core/runtime/_nrt_python.c"

#define SCALAR (-1)

typedef struct {
    int type_num;
    int n_dimensions; /* SCALAR: no array. */
    char layout;      /* As numba calls it: 'C', 'F', or 'A' for any other. */
    int is_writable;
} argument_t;

typedef struct {
    const char *name;
    Py_ssize_t n_arguments;
    const argument_t *arguments;
    PyObject *(*call)(PyObject *closure, PyObject *arguments, PyObject *keywords);
    PyObject **environment;
    const char *const *dtypes; /* Of the arrays that it returns; NULL ends them. */
} overload_t;

typedef struct {
    const char *name;
    void *address;
} callback_t;

#include "kernels.inc"

typedef struct {
    PyObject_HEAD
    PyObject *otherwise;
    const overload_t *overloads;
    Py_ssize_t n_overloads;
} KernelObject;

static char
layout_of(PyArrayObject *array)
{
    if (PyArray_IS_C_CONTIGUOUS(array))
        return 'C';
    return PyArray_IS_F_CONTIGUOUS(array) ? 'F' : 'A';
}

static int
fits_array(PyObject *given, const argument_t *wanted)
{
    PyArrayObject *array = (PyArrayObject *)given;

    return PyArray_CheckExact(given) && PyArray_NDIM(array) == wanted->n_dimensions
        && PyArray_EquivTypenums(PyArray_TYPE(array), wanted->type_num)
        && PyArray_ISBEHAVED_RO(array) && layout_of(array) == wanted->layout
        && !PyArray_ISWRITEABLE(array) == !wanted->is_writable;
}

/* As numba reads Python's numbers: int64, float64, bool; numpy's are what they are. */
static int
fits_scalar(PyObject *given, const argument_t *wanted)
{
    PyArray_Descr *descr;
    int fits, overflow = 0;

    if (PyFloat_CheckExact(given))
        return wanted->type_num == NPY_FLOAT64;
    if (PyBool_Check(given))
        return wanted->type_num == NPY_BOOL;
    if (PyLong_CheckExact(given)) {
        PyLong_AsLongLongAndOverflow(given, &overflow);
        return PyArray_EquivTypenums(wanted->type_num, NPY_INT64) && !overflow;
    }
    if (!PyArray_CheckScalar(given))
        return 0;
    descr = PyArray_DescrFromScalar(given);
    fits = PyArray_EquivTypenums(descr->type_num, wanted->type_num);
    Py_DECREF(descr);
    return fits;
}

static int
fits(const overload_t *overload, PyObject *arguments)
{
    Py_ssize_t i;

    if (PyTuple_GET_SIZE(arguments) != overload->n_arguments)
        return 0;
    for (i = 0; i < overload->n_arguments; i++) {
        PyObject *given = PyTuple_GET_ITEM(arguments, i);
        const argument_t *wanted = &overload->arguments[i];
        int is_right = wanted->n_dimensions == SCALAR ? fits_scalar(given, wanted)
                                                      : fits_array(given, wanted);
        if (!is_right)
            return 0;
    }
    return 1;
}

static PyObject *
kernel_call(KernelObject *self, PyObject *arguments, PyObject *keywords)
{
    Py_ssize_t i;

    if (keywords == NULL || PyDict_GET_SIZE(keywords) == 0)
        for (i = 0; i < self->n_overloads; i++)
            if (fits(&self->overloads[i], arguments))
                return self->overloads[i].call(NULL, arguments, NULL);
    return PyObject_Call(self->otherwise, arguments, keywords);
}

static PyObject *
kernel_getattro(KernelObject *self, PyObject *name)
{
    PyObject *value = PyObject_GenericGetAttr((PyObject *)self, name);

    if (value != NULL || !PyErr_ExceptionMatches(PyExc_AttributeError))
        return value;
    PyErr_Clear();
    return PyObject_GetAttr(self->otherwise, name);
}

static void
kernel_dealloc(KernelObject *self)
{
    Py_XDECREF(self->otherwise);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyObject *
kernel_is_ready(PyObject *self, void *closure)
{
    Py_RETURN_TRUE;
}

static PyGetSetDef KERNEL_FACTS[] = {
    {"is_ready", kernel_is_ready, NULL, "Nothing has to be compiled before it is called.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyTypeObject KernelType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "kernel_library.Kernel",
    .tp_basicsize = sizeof(KernelObject),
    .tp_dealloc = (destructor)kernel_dealloc,
    .tp_call = (ternaryfunc)kernel_call,
    .tp_getattro = (getattrofunc)kernel_getattro,
    .tp_getset = KERNEL_FACTS,
    .tp_flags = Py_TPFLAGS_DEFAULT,
};

static PyObject *
library_kernel(PyObject *module, PyObject *arguments)
{
    const char *name;
    PyObject *otherwise;
    KernelObject *kernel;
    const overload_t *overload;

    if (!PyArg_ParseTuple(arguments, "sO", &name, &otherwise))
        return NULL;
    for (overload = OVERLOADS; overload->name != NULL; overload++)
        if (strcmp(overload->name, name) == 0)
            break;
    if (overload->name == NULL)
        Py_RETURN_NONE;
    kernel = PyObject_New(KernelObject, &KernelType);
    if (kernel == NULL)
        return NULL;
    Py_INCREF(otherwise);
    kernel->otherwise = otherwise;
    kernel->overloads = overload;
    kernel->n_overloads = 0;
    for (; overload->name != NULL && strcmp(overload->name, name) == 0; overload++)
        kernel->n_overloads++;
    return (PyObject *)kernel;
}

static PyObject *
library_callback(PyObject *module, PyObject *arguments)
{
    const char *name;
    const callback_t *callback;

    if (!PyArg_ParseTuple(arguments, "s", &name))
        return NULL;
    for (callback = CALLBACKS; callback->name != NULL; callback++)
        if (strcmp(callback->name, name) == 0)
            return PyLong_FromVoidPtr(callback->address);
    Py_RETURN_NONE;
}

static PyMethodDef METHODS[] = {
    {"kernel", library_kernel, METH_VARARGS,
     "The kernel of that name, or None; what was not compiled goes to the other argument."},
    {"callback", library_callback, METH_VARARGS, "The address of a C function, or None."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef DEFINITION = {
    PyModuleDef_HEAD_INIT, .m_name = "kernel_library", .m_size = -1, .m_methods = METHODS,
};

/* What machine code of numba reads its constants from; alive as long as the process. */
static int
make_environment(const overload_t *overload, PyObject *module)
{
    const char *const *dtype;
    EnvironmentObject *environment = env_new_empty(&EnvironmentType);

    if (environment == NULL || (environment->consts = PyList_New(0)) == NULL)
        return -1;
    environment->globals = PyModule_GetDict(module);
    Py_INCREF(environment->globals);
    for (dtype = overload->dtypes; *dtype != NULL; dtype++) {
        PyArray_Descr *descr = NULL;
        PyObject *name = PyUnicode_FromString(*dtype);
        if (name == NULL || !PyArray_DescrConverter(name, &descr)
            || PyList_Append(environment->consts, (PyObject *)descr) < 0)
            return -1;
        Py_DECREF(name);
        Py_DECREF(descr);
    }
    *overload->environment = (PyObject *)environment;
    return 0;
}

PyMODINIT_FUNC
PyInit_kernel_library(void)
{
    const overload_t *overload;
    PyObject *module = PyModule_Create(&DEFINITION);

    import_array();
    if (module == NULL || PyType_Ready(&KernelType) < 0 || init_dynfunc_module(module))
        return NULL;
    NRT_MemSys_init();
    if (init_nrt_python_module(module)
        || PyModule_AddStringConstant(module, "CONTENT", CONTENT) < 0)
        return NULL;
    for (overload = OVERLOADS; overload->name != NULL; overload++)
        if (make_environment(overload, module) < 0)
            return NULL;
    return module;
}
