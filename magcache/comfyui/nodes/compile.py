"""The node that compiles a model."""

from __future__ import annotations

from comfy_api.latest import io
from comfy_api.torch_helpers import set_torch_compile_wrapper


class CompileModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CompileModel",
            display_name="Compile Model",
            category="MagCache",
            description="Compiles the model with torch.compile. Works before and after MagCache and LoRA loaders.",
            search_aliases=["torch compile", "inductor", "コンパイル", "高速化", "编译", "加速"],
            inputs=[
                io.Model.Input("model", tooltip="The model to compile."),
                io.Combo.Input(
                    "mode",
                    options=["default", "max-autotune", "max-autotune-no-cudagraphs", "reduce-overhead"],
                    default="default",
                    tooltip="How much the compiler optimises. Only the backend 'inductor' has modes.",
                ),
                io.Combo.Input(
                    "backend",
                    options=["inductor", "cudagraphs", "eager", "aot_eager"],
                    default="inductor",
                    tooltip="The compiler that turns the traced model into code. 'inductor' makes fast code.",
                ),
                io.Boolean.Input("fullgraph", default=False, tooltip="Raise an error instead of splitting the model where tracing fails."),
                io.Boolean.Input("dynamic", default=False, tooltip="Compile once for all picture sizes instead of once for each size."),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The model, compiled when it first runs.")],
        )

    @classmethod
    def execute(cls, model, mode, backend, fullgraph, dynamic) -> io.NodeOutput:
        model = model.clone()
        set_torch_compile_wrapper(
            model, backend=backend, mode=mode if backend == "inductor" else None, fullgraph=fullgraph, dynamic=dynamic
        )
        return io.NodeOutput(model)

    @classmethod
    def apply_compile(cls, model, mode, backend, fullgraph, dynamic):
        """The method of the published pack, for packs and exported scripts that call it."""
        return cls.execute(model, mode, backend, fullgraph, dynamic).result
