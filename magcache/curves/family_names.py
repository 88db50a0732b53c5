"""The architectures by name, of all hosts: what the field `family` of a curve may say. The hosts' own lists need PyTorch, this does not."""

FAMILY_NAMES = (
    "ace_step", "ace_step15", "allegro", "anyflow", "anyflow_far", "auraflow", "boogu", "bria", "bria_fibo", "bria_fibo2", "cascade",
    "chroma", "chroma_radiance", "cogvideox", "cogview3plus", "cogview4", "consisid", "cosmos", "cosmos3", "cosmos_predict2", "dit",
    "easyanimate", "ernie_image", "flux", "flux3", "glm_image", "helios", "hidream", "hidream_o1", "hunyuan3d", "hunyuan3d21",
    "hunyuan_dit", "hunyuan_video", "ideogram4", "joyimage", "kandinsky5", "kandinsky6", "kandinsky6_sr", "krea2", "latte", "lens",
    "longcat_audio", "ltx2", "ltxv", "lumina2", "lumina2_pixel", "lumina_next", "mage_flow", "minimax_h3", "minimax_music3", "mochi",
    "motif_video", "nucleus", "omnigen", "omnigen2", "pixart", "pixeldit", "prior", "prx", "qwen_image", "qwen_image2.1", "sana",
    "sana_video", "sana_wm", "sana_wm_refiner", "sd3", "seedvr2", "stable_audio", "triposplat", "unet", "wan", "wan_animate2",
    "wan_dancer",
)  # fmt: skip
